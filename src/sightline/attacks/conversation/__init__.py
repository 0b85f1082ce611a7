"""Attacks that ask models while they craft, and what they are made of."""

"""Attacks on the tokens of the text."""

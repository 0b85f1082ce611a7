"""Attacks that ask models, or go over several turns."""

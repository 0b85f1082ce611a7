"""Attacks that draw words in a picture, without any search."""

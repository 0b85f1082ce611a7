"""Judges checked: which forgeries in a reply turn them, and how they agree with what people said."""

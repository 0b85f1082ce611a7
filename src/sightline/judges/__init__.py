"""Judges, one file each: case, what was shown and reply in, verdict out."""

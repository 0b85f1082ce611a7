"""Attacks, one file each: cases in, drafts out."""

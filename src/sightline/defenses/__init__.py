"""Defenses, one file each: asynchronous middleware around a target."""

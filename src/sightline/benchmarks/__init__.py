"""Benchmarks, one file each: an official release in a folder of the user becomes cases."""

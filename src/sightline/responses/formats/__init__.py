"""Formats of other harnesses, one file each: whether a file has it, and the answers that it holds.

The schemas were read off the projects' own code and data; each module says where.
"""

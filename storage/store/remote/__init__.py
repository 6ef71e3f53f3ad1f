"""Stores that are not a folder of this node: their files, errors, and copies of small objects."""

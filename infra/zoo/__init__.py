"""Awkward videos, and the verification of how they are segmented."""

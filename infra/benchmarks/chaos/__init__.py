"""Chaos: runs of the sandbox pipeline that are killed or disturbed, and what they end with."""

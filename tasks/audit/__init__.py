"""Audit of a data set (`waver check`): counts, findings, and duplicate recordings."""

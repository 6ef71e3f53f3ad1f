"""Exported tables and folders: contents by purpose, formats, and atomic output."""

"""Erase one participant from a store, and search it for what is left."""

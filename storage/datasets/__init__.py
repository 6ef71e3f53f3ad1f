"""Data sets: the record, its readers, consent, and participants erased from a store."""

"""The base model opened for training: trained parts, memory estimate, last-position computation."""

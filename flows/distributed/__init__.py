"""Inference on several nodes: partitions of the segments, run by the workers of a work pool."""

"""Pooling of segments, thresholds chosen on validation, metrics with intervals, and baselines."""

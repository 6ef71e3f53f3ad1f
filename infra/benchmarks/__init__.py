"""Measured speed of cutting, training and inference."""

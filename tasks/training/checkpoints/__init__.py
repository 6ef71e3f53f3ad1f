"""Checkpoints of a running training, and the files of a trained model."""

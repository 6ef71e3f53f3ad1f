"""Parity of vLLM with transformers: the same segments, compared by inputs and predictions."""

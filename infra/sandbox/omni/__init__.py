"""Pretraining of the tiny Qwen3-Omni-MoE base model."""

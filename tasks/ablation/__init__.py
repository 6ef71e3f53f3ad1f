"""Modality ablation: what a model reaches with every set of video, audio and transcript."""

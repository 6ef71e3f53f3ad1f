"""Inference with vLLM: settings, request preparation, engines in child processes, failures."""

"""Model folders in Hugging Face format: checks, fingerprints, loading; memory and GPUs."""

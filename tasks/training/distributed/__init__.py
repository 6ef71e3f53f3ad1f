"""Training with several processes: ranks, launching, FSDP2, DeepSpeed, the optimizer step."""

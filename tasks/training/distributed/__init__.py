"""Training with several processes: ranks, launching, FSDP2, the optimizer step."""

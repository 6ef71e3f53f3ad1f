"""Fine-tuning of the model: the loop, its job, and the process around it."""

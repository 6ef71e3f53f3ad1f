"""LoRA adapters: found by name, served by the engine, or merged with their base."""

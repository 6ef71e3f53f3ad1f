"""Training with ms-swift, an optional external trainer."""

"""The six stages, one module each, and the rooms of code they use."""

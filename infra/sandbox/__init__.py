"""A synthetic data set in the BAH layout, and the tiny models that come with it."""

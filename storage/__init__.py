"""Records of every table, readers of data sets, and the store that keeps all results."""

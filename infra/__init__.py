"""Settings profiles, deployments, setup, the synthetic data set and the benchmarks."""

"""Training sets, model families, fitting, tuning, baselines."""

"""Training: training sets, model families, fitting, tuning, baselines."""

"""Evaluation: metrics, slices, model checks, interval coverage, leaderboard."""

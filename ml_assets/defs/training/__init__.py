"""Dagster definitions of training: training set, models, leaderboard, checks, sensor."""

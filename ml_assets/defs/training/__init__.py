"""Training in Dagster: the training set, models, leaderboard, checks, sensor."""

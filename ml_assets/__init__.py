"""Predict how long a New York taxi trip takes: a model in production as an asset graph."""

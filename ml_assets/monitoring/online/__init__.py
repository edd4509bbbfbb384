"""Metrics of the prediction service's request log."""

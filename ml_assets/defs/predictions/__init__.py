"""Predictions in Dagster: scored months, and the job for one request."""

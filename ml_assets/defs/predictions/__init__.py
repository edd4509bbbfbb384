"""Dagster definitions of predictions: scored months, and the job for single requests."""

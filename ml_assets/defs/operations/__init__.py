"""Runs in Dagster: outcomes, orphaned and queued runs, tags, MLflow runs, errors."""

"""Monitoring in Dagster: drift and performance, request log, retraining."""

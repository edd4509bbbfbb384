"""Alerts in Dagster: sensors on runs, decisions, degradation and overdue assets."""

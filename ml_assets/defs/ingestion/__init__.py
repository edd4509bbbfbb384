"""Months in Dagster: assets, checks, sensor."""

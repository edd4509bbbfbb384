"""Ingestion in Dagster: assets, checks, metadata and the sensor of new months."""

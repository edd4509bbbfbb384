"""The Dagster layer: assets, checks, sensors, schedules and jobs, a folder a concern."""

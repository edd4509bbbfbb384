"""The Dagster layer: assets, checks, sensors, schedules and jobs, one folder per concern."""

"""Trips: months, calendar, zones, schemas, cleaning, data quality, the synthetic sample."""

"""The trip domain: months, schemas, cleaning, windows, zones, the synthetic sample."""

"""Dagster definitions of monitoring: drift, performance, request log, retraining sensors."""

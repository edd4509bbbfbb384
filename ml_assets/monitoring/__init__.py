"""Monitoring: feature drift, the champion's error on new months, and when to retrain."""

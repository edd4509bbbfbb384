"""Prediction requests: parsing, validation, pick-up times, files of requests."""

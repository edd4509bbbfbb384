"""Batch predictions: frames and files of requests, scored by one fitted pipeline."""

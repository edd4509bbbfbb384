"""Drift of what comes in, and decay of what serves: measures, limits, and when they breach."""

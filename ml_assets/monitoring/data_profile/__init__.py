"""Data profile: the published columns, distances, durations and times of a month, as figures."""

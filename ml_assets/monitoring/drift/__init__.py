"""Feature drift: histograms and the population stability index."""

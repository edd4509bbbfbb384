"""Sources of published months: the sample, the TLC's site, or a folder or URL."""

"""Data-quality rules on a month of trips; ``month_rejection`` lists them and decides."""

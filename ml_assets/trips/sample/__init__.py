"""Synthetic sample: seeded months of taxi trips in the published schema, made without a network.

What it stands for and where it differs from the published files is told in ``generate``.
"""

from ml_assets.trips.sample.draws import SAMPLE_SEED
from ml_assets.trips.sample.generate import generate_month

__all__ = ["SAMPLE_SEED", "generate_month"]

"""Synthetic sample: seeded months of taxi trips in the published schema, generated offline.

``generate`` describes what it represents and how it differs from the published files.
"""

from ml_assets.trips.sample.draws import SAMPLE_SEED
from ml_assets.trips.sample.generate import generate_month

__all__ = ["SAMPLE_SEED", "generate_month"]

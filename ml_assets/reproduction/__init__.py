"""Fit a registered version again and compare."""

from ml_assets.secrets import ShownError

MAX_REQUESTS = 20_000
"""Default maximum of requests whose predictions are compared."""


class UnknownVersion(ShownError, LookupError):
    """A version that does not exist or lacks its records; the message lists the existing ones."""


class ReproductionError(ShownError, ValueError):
    """A version that cannot be fitted again here; the message has reason and remedy."""

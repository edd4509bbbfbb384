"""Which model serves: champion and challenger, decisions, manual promotion, serving parity."""

from ml_assets.secrets import ShownError


class NoCandidate(ShownError, ValueError):
    """No model can be promoted; says why."""


class NotServable(ShownError, RuntimeError):
    """A registered version does not predict what was evaluated; the champion keeps serving."""


class OverrideRejected(ShownError, ValueError):
    """The requested version cannot be promoted; the message has reason and remedy."""

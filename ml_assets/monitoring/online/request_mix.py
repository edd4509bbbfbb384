"""How much errors with and without a distance count: the share of requests that state one.

The distance of a published trip is metered, and so known only after it. Requests leave it out or
state a planned one, so promotion, backtest and monitoring weigh both errors by how often each is
requested.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.leaderboard import MODES
from ml_assets.evaluation.records import DEFAULT_SHARE_STATED, Leaderboard, comparable_share
from ml_assets.monitoring.online.records import OnlineRecord

MIN_REQUESTS: Final = 1_000
"""With fewer logged requests, the share may be that of one person who tries the service: a share of
half is then known to 3 points (two standard errors) at best."""

Minutes = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RequestMix:
    """The share of requests that state their distance.

    Attributes:
        share_stated: 0 to 1.
        source: Where it is from.
        configured: Whether it was set in ``champion_model``'s config, not measured or the default.
    """

    share_stated: float = DEFAULT_SHARE_STATED
    source: str = "the default, as no request log shows it yet"
    configured: bool = False

    def __str__(self) -> str:
        return f"{self.share_stated:.0%} of requests state their distance"

    def on(self, board: Leaderboard) -> "RequestMix":
        """Return the mix that all rows of a leaderboard can be compared by.

        A leaderboard made before 0.2 has no errors without a distance.
        """
        if comparable_share(board.rows, self.share_stated) == self.share_stated:
            return self
        return RequestMix(1.0, "the leaderboard has no errors without a distance")


def request_mix(log: OnlineRecord | None, configured: float | None = None) -> RequestMix:
    """Return the share of requests that state their distance.

    Args:
        log: Metrics of the request log; None without one.
        configured: A share that replaces the measured one, 0 to 1.

    Returns:
        The configured share; else that of the log's last four weeks, if these have at least
        ``MIN_REQUESTS`` requests; else the default.
    """
    if configured is not None:
        return RequestMix(configured, "set in champion_model's config", configured=True)
    if log is None or log.stated_share is None:
        return RequestMix()
    logged = f"{log.window_answers:,} logged requests since {log.first}"
    if log.window_answers < MIN_REQUESTS:
        return RequestMix(source=f"the default, as {logged} are fewer than {MIN_REQUESTS:,}")
    return RequestMix(log.stated_share, logged)


def configured_share(decisions: Sequence[ChampionDecision], version: str) -> float | None:
    """Return the share that was configured for the last training's decision on a champion.

    Args:
        decisions: Decisions on one dataset, oldest first. Manual ones have no share and are
            skipped, so a rollback keeps the share with which the version was promoted.
        version: Registry version of the champion.

    Returns:
        0 to 1; None when that decision used the request log or the default, or there is none.
    """
    last = next(
        (
            decision
            for decision in reversed(decisions)
            if decision.registry_version == version and decision.share_stated is not None
        ),
        None,
    )
    return last.share_stated if last is not None and last.share_configured else None


@dataclass(frozen=True)
class ModePredictions:
    """A model's predictions for the same trips in both modes, minutes, shape (n,).

    Attributes:
        stated: With the metered distance of each trip.
        usual: Without a distance.
    """

    stated: Minutes
    usual: Minutes

    @property
    def by_mode(self) -> Mapping[str, Minutes]:
        """The predictions by mode, in the order of ``MODES``."""
        return dict(zip(MODES, (self.stated, self.usual), strict=True))

    def squared_errors(self, actual: Minutes, mix: RequestMix) -> Minutes:
        """Return the squared error of each trip, weighted by how often each mode is requested."""
        share = mix.share_stated
        return share * (self.stated - actual) ** 2 + (1 - share) * (self.usual - actual) ** 2

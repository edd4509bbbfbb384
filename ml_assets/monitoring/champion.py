"""The serving champion, as monitoring sees it."""

from dataclasses import dataclass
from typing import Final, Literal

Status = Literal["measured", "nothing_serves", "other_dataset", "unscorable", "no_reference"]
"""What became of a measurement: months were measured, or why not. ``unscorable`` is a champion that
does not predict any more, ``no_reference`` one none of whose months is stored."""

MEASURED: Final = "measured"


def identity(version: str, run_id: str) -> str:
    """What tells a version from one of the same number in another registry: its MLflow run."""
    return f"{version}@{run_id}" if run_id else version


@dataclass(frozen=True)
class ServedChampion:
    """What the registry tells of the version that serves.

    Attributes:
        version: Its number.
        model: Family name.
        dataset: What it was trained on (``green``, ``sample_green``, …).
        fitted_on: Months (``YYYY-MM``) that the fit which serves has seen, in order.
        tuned_on: Months that chose its parameters and rounds.
        judged_month: The month that it was judged on; empty when nobody knows.
        test_rmse: Of the judged fit on that month, minutes; None when nobody knows.
        run_id: Its MLflow run; empty when nobody knows.
    """

    version: str
    model: str
    dataset: str
    fitted_on: tuple[str, ...]
    tuned_on: tuple[str, ...] = ()
    judged_month: str = ""
    test_rmse: float | None = None
    run_id: str = ""

    @property
    def identity(self) -> str:
        """Tells it from a version of the same number in another registry."""
        return identity(self.version, self.run_id)

    def has_seen(self, month: str) -> bool:
        """Whether a month was among those that it was fitted or tuned on."""
        return month in self.fitted_on or month in self.tuned_on

    def __str__(self) -> str:
        return f"the champion ({self.model}, version {self.version})"

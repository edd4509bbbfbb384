"""The serving champion, as a decision sees it: what it is, how it does, and who put it there."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ml_assets.evaluation.records import TrainingSet

Serve = Literal["judged", "refitted_on_all_months"]


@dataclass(frozen=True)
class ManualOverride:
    """A person's choice of a champion, which stands until there is data that it was not made on.

    Attributes:
        kind: ``rollback`` or ``override``.
        reason: The person's.
        judged_month: The newest month that models had been judged on by then.
        raw_sha256: Of that month's published file.
    """

    kind: str
    reason: str
    judged_month: str
    raw_sha256: str

    def expired(self, training_set: TrainingSet) -> bool:
        """Whether this training set judges on a later month, or on that month published anew."""
        judged = [use for use in training_set.months if use.role == "judge"]
        return any(
            use.month > self.judged_month
            or (use.month == self.judged_month and use.raw_sha256 != self.raw_sha256)
            for use in judged
        )


@dataclass(frozen=True)
class Champion:
    """The serving champion as the registry knows it, asked again for the judged month.

    Attributes:
        version: Registry version.
        model: Family name.
        serve: Which fit of it serves.
        served: The same in words.
        dataset: What it was trained on (``green``, ``sample_green``, …); empty when nobody knows.
        synthetic: Whether that is the synthetic sample.
        test_rmse: On the leaderboard's judged month, minutes; None when it was not scored.
        unscored: Why it can no longer be scored.
        saw_judged_month: Whether that month was among those it was fitted or tuned on.
        caveat: What its figure must be shown with.
        run_id: The MLflow run of the training that made it.
        hold: The person's choice behind it; None when a decision put it there.
        predicted: Its predictions for the judged month, minutes; None when it was not scored.
    """

    version: str
    model: str
    serve: Serve
    served: str
    dataset: str
    synthetic: bool
    test_rmse: float | None = None
    unscored: str | None = None
    saw_judged_month: bool = False
    caveat: str | None = None
    run_id: str = ""
    hold: ManualOverride | None = None
    predicted: npt.NDArray[np.float64] | None = None

    def __str__(self) -> str:
        return f"the champion ({self.model}, version {self.version})"

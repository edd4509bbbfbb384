"""Whether there is anything to retrain on: the training set to come against the last one."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_assets.evaluation.records import ChampionDecision, MonthSplit, TrainingSet
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.trip_store import CorruptMonth, MonthNotFound, TripStore
from ml_assets.training.training_set import (
    TABLE,
    TrainingSetError,
    build_training_set,
    rejected_months,
)
from ml_assets.training.windows import WindowError, choose_window, span
from ml_assets.trips.month import Month


@dataclass(frozen=True)
class NextTraining:
    """The training that would be done now.

    Attributes:
        training_set: What it would stand on; None when there is not enough.
        refused: Months that it would leave out, each with why.
        fault: Why there is no training set.
    """

    training_set: TrainingSet | None
    refused: Mapping[Month, str]
    fault: str = ""

    @property
    def rejection_summary(self) -> str:
        """The months left out, and why, in a line; empty when there are none."""
        return " | ".join(f"{month} is refused: {why}" for month, why in self.refused.items())


@dataclass(frozen=True)
class NewData:
    """What the last training did not know: months by ``YYYY-MM``."""

    new: tuple[str, ...] = ()
    republished: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.republished)

    def __str__(self) -> str:
        groups = (("new", self.new), ("republished", self.republished))
        return ", ".join(
            f"{kind}: {span([Month.parse(month) for month in months])}"
            for kind, months in groups
            if months
        )


def next_training(store: TripStore) -> NextTraining:
    """The training set of all stored months that no data rule refuses, as ``retrain`` makes it."""
    stored = store.months(TABLE)
    refused = rejected_months(store, stored)
    fit = [month for month in stored if month not in refused]
    try:
        described = build_training_set(store, choose_window(fit), refused)
    except (WindowError, TrainingSetError, MonthNotFound, CorruptMonth) as error:
        return NextTraining(None, refused, str(error))
    return NextTraining(described, refused)


def last_applied(log: DecisionLog) -> ChampionDecision | None:
    """The newest training that led to a decision which was carried out.

    Raises:
        UnreadableRecord: when a decision cannot be read.
    """
    trainings = [entry for entry in log.all() if entry.kind == "training" and entry.applied]
    return trainings[-1] if trainings else None


def new_data_since(training_set: TrainingSet, last: ChampionDecision | None) -> NewData:
    """Return the months that are newer than those of the last training, or were republished.

    Other code, and older months that were ingested later, do not count: the weekly retraining
    includes them.
    """
    now = _contents(training_set.months)
    if last is None or not last.months:
        return NewData(new=tuple(now))
    before = _contents(last.months)
    newest = max(before)
    return NewData(
        new=tuple(month for month in now if month > newest),
        republished=tuple(
            month for month, content in now.items() if before.get(month, content) != content
        ),
    )


def data_fingerprint(training_set: TrainingSet, last: ChampionDecision | None) -> str:
    """Names what there is to train on, and what was trained before: the same for the same data."""
    contents = "\n".join(f"{month} {sha}" for month, sha in _contents(training_set.months).items())
    digest = hashlib.sha256(f"{training_set.dataset}\n{contents}".encode()).hexdigest()[:16]
    return f"{digest} after {last.decision_id or 'an early decision' if last else 'nothing'}"


def _contents(months: Sequence[MonthSplit]) -> dict[str, str]:
    """Each month's published file, by its checksum, in order."""
    return {use.month: use.raw_sha256 for use in sorted(months, key=lambda use: use.month)}

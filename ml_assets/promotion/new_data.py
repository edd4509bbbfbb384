"""Whether there is new data to retrain on: the next training set compared with the last one."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.records import MonthSplit, TrainingSet
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
    """The training that would run now.

    Attributes:
        training_set: Its training set; None when there are not enough months.
        rejected: Months that it would skip, each with the reason.
        fault: Why there is no training set.
    """

    training_set: TrainingSet | None
    rejected: Mapping[Month, str]
    fault: str = ""

    @property
    def rejection_summary(self) -> str:
        """The skipped months with their reasons on one line; empty without any."""
        return " | ".join(f"{month} is rejected: {why}" for month, why in self.rejected.items())


@dataclass(frozen=True)
class NewData:
    """Months that the last training did not have, as ``YYYY-MM``."""

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
    """Build the training set of the job ``retrain``: all stored months that no rule rejects."""
    stored = store.months(TABLE)
    rejected = rejected_months(store, stored)
    usable = [month for month in stored if month not in rejected]
    try:
        training_set = build_training_set(store, choose_window(usable), rejected)
    except (WindowError, TrainingSetError, MonthNotFound, CorruptMonth) as error:
        return NextTraining(None, rejected, str(error))
    return NextTraining(training_set, rejected)


def last_applied(log: DecisionLog) -> ChampionDecision | None:
    """Return the newest applied decision of a training; None before the first.

    Raises:
        UnreadableRecord: A decision cannot be read.
    """
    trainings = [entry for entry in log.all() if entry.kind == "training" and entry.applied]
    return trainings[-1] if trainings else None


def new_data_since(training_set: TrainingSet, last: ChampionDecision | None) -> NewData:
    """Return the months that are newer than all of the last training, or were republished.

    Changed code, and older months ingested later, do not count: the weekly retraining covers them.
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
    """Return a key of the data to train on and the last training; equal for equal data."""
    contents = "\n".join(f"{month} {sha}" for month, sha in _contents(training_set.months).items())
    digest = hashlib.sha256(f"{training_set.dataset}\n{contents}".encode()).hexdigest()[:16]
    return f"{digest} after {last.decision_id or 'an early decision' if last else 'nothing'}"


def _contents(months: Sequence[MonthSplit]) -> dict[str, str]:
    """Return the checksum of each month's published file, in order of months."""
    return {use.month: use.raw_sha256 for use in sorted(months, key=lambda use: use.month)}

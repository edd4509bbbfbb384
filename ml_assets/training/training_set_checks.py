"""Is a training set what it says? Pure rules behind the asset checks on it."""

from collections.abc import Sequence

import numpy as np

from ml_assets.evaluation.records import TrainingSet
from ml_assets.storage.trip_store import MonthNotFound, TripStore
from ml_assets.training.training_set import rejected_months
from ml_assets.training.windows import span
from ml_assets.trips.month import Month
from ml_assets.trips.quality import Finding, MonthProfile, Verdict
from ml_assets.trips.quality.profile import unseen_share
from ml_assets.trips.rules import (
    LONGEST_MINUTES,
    REQUEST_COLUMNS,
    SHORTEST_MINUTES,
    TARGET,
    ZONE_CODES,
)

_IDS_AND_TARGET = ("trip_id", TARGET)
_MOSTLY_UNSEEN = 0.5
_AGAIN = "materialize training_set again, then the models"


def no_split_overlap(training_set: TrainingSet) -> Finding:
    """Train, tune and judge months are disjoint, and each role comes after the one before."""
    roles = {role: training_set.months_of(role) for role in ("train", "tune", "judge")}  # type: ignore[arg-type]
    empty = [role for role, months in roles.items() if not months]
    if empty:
        return Finding(Verdict.FAIL, f"no month has the role {', '.join(empty)}; {_AGAIN}")
    line = " · ".join(f"{role} {span(months)}" for role, months in roles.items())
    train, tune, judge = roles.values()
    if training_set.tunes_on_the_judged_month and train[-1] < judge[0]:
        if training_set.caveat:
            return Finding(Verdict.SKIP, f"{line}. {training_set.caveat}")
        return Finding(
            Verdict.FAIL, f"{line}: one month tunes and judges, and no caveat says so; {_AGAIN}"
        )
    if not (train[-1] < tune[0] and tune[-1] < judge[0]):
        return Finding(
            Verdict.FAIL,
            f"{line}: these overlap or are out of order, so models would know what they are judged "
            f"on; {_AGAIN}",
        )
    return Finding(Verdict.PASS, f"disjoint and in order: {line}")


def inputs_unchanged(training_set: TrainingSet, store: TripStore) -> Finding:
    """The stored months are those that the record names, and none of them is refused by now."""
    faults: list[str] = []
    for use in training_set.months:
        try:
            lineage, rows = store.lineage("trip_features", Month.parse(use.month))
        except MonthNotFound as error:
            faults.append(str(error))
            continue
        if (lineage.raw_sha256, rows) != (use.raw_sha256, use.rows):
            faults.append(f"{use.month} was replaced since ({use.rows:,} trips then, {rows:,} now)")
        elif lineage.code_version != use.code_version:
            faults.append(f"{use.month} was made anew since, by other code")
    months = training_set.months_of("train", "tune", "judge")
    faults += [f"{month}: {why}" for month, why in rejected_months(store, months).items()]
    if faults:
        return Finding(Verdict.FAIL, f"{'; '.join(dict.fromkeys(faults))}. {_AGAIN}")
    rows = training_set.rows_of("train", "tune", "judge")
    return Finding(
        Verdict.PASS, f"{len(months)} months, {rows:,} trips, as recorded and fit to be trained on"
    )


def no_leaky_features(months: Sequence[MonthProfile]) -> Finding:
    """Models are given the request columns and nothing else."""
    allowed = {*REQUEST_COLUMNS, *_IDS_AND_TARGET}
    others = {
        name: month.month for month in months for name in month.columns if name not in allowed
    }
    if others:
        named = ", ".join(f"{name} ({month})" for name, month in others.items())
        return Finding(
            Verdict.FAIL,
            f"{named} may not be known when a ride is requested: materialize trip_features again",
        )
    return Finding(Verdict.PASS, f"models see {', '.join(REQUEST_COLUMNS)}, and nothing else")


def target_in_range(months: Sequence[MonthProfile]) -> Finding:
    """Every duration to learn from or to be judged on lies within the course's rule."""
    figures = [month.figures for month in months if month.figures is not None]
    if not figures:
        return Finding(Verdict.FAIL, f"there is no duration to learn from; {_AGAIN}")
    shortest = min(month.shortest for month in figures)
    longest = max(month.longest for month in figures)
    fine = shortest >= SHORTEST_MINUTES and longest <= LONGEST_MINUTES
    sentence = f"durations from {shortest:.2f} to {longest:.2f} minutes"
    if not fine:
        sentence += f", allowed {SHORTEST_MINUTES} to {LONGEST_MINUTES}: materialize trip_features"
    verdict = Verdict.PASS if fine else Verdict.FAIL
    return Finding(verdict, sentence, longest, float(SHORTEST_MINUTES), float(LONGEST_MINUTES))


def zone_pair_coverage(train: Sequence[MonthProfile], judge: Sequence[MonthProfile]) -> Finding:
    """Most judged trips go between zones that training has seen paired."""
    seen = np.zeros(ZONE_CODES * ZONE_CODES, dtype=np.bool_)
    for month in train:
        if month.figures is not None:
            seen |= month.figures.pairs > 0
    measured = [month.figures for month in judge if month.figures is not None]
    if not measured:
        return Finding(Verdict.SKIP, "there is no judged trip")
    share = max(unseen_share(figures.pairs, seen) for figures in measured)
    sentence = f"{share:.1%} of the judged trips go between zones never paired in training"
    if share > _MOSTLY_UNSEEN:
        sentence += ": train on more months, or look whether zones were renumbered"
        return Finding(Verdict.WARN, sentence, share, 0.0, _MOSTLY_UNSEEN)
    return Finding(Verdict.PASS, sentence, share, 0.0, _MOSTLY_UNSEEN)

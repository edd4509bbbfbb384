"""Rules behind the asset checks on the training set."""

from collections.abc import Sequence

import numpy as np

from ml_assets.evaluation.records import TrainingSet
from ml_assets.storage.trip_store import MonthNotFound, TripStore
from ml_assets.training.training_set import rejected_months
from ml_assets.training.windows import span
from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.quality.profile import MonthProfile, unseen_share
from ml_assets.trips.request_columns import REQUEST_COLUMNS, ZONE_CODES
from ml_assets.trips.target import TARGET

_IDS_AND_TARGET = ("trip_id", TARGET.name)
_MOSTLY_UNSEEN = 0.5
_REMEDY = "materialize training_set again, then the models"


def no_split_overlap(training_set: TrainingSet) -> Finding:
    """Check that training, validation and test months are disjoint and in this order."""
    roles = {role: training_set.months_in(role) for role in ("train", "validation", "test")}  # type: ignore[arg-type]
    empty = [role for role, months in roles.items() if not months]
    if empty:
        return Finding(Verdict.FAIL, f"no month has the role {', '.join(empty)}; {_REMEDY}")
    line = " · ".join(f"{role} {span(months)}" for role, months in roles.items())
    train, validation, test = roles.values()
    if training_set.validation_is_test and train[-1] < test[0]:
        if training_set.caveat:
            return Finding(Verdict.SKIP, f"{line}. {training_set.caveat}")
        return Finding(
            Verdict.FAIL,
            f"{line}: validation and test are the same month without a caveat; {_REMEDY}",
        )
    if not (train[-1] < validation[0] and validation[-1] < test[0]):
        return Finding(
            Verdict.FAIL,
            f"{line}: the months overlap or are out of order, so the test would leak into the "
            f"models; {_REMEDY}",
        )
    return Finding(Verdict.PASS, f"disjoint and in order: {line}")


def inputs_unchanged(training_set: TrainingSet, store: TripStore) -> Finding:
    """Check that the stored months are those of the record and pass the data rules."""
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
            faults.append(f"{use.month} was rebuilt since, by other code")
    months = training_set.months_in("train", "validation", "test")
    faults += [f"{month}: {why}" for month, why in rejected_months(store, months).items()]
    if faults:
        return Finding(Verdict.FAIL, f"{'; '.join(dict.fromkeys(faults))}. {_REMEDY}")
    rows = training_set.rows_in("train", "validation", "test")
    return Finding(
        Verdict.PASS, f"{len(months)} months, {rows:,} trips, as recorded and usable for training"
    )


def no_leaky_features(months: Sequence[MonthProfile]) -> Finding:
    """Check that the months have no columns besides request columns, trip id and target."""
    allowed = {*REQUEST_COLUMNS, *_IDS_AND_TARGET}
    others = {
        name: month.month for month in months for name in month.columns if name not in allowed
    }
    if others:
        named = ", ".join(f"{name} ({month})" for name, month in others.items())
        return Finding(
            Verdict.FAIL,
            f"{named} may be unknown when a ride is requested: materialize trip_features again",
        )
    return Finding(Verdict.PASS, f"models see only {', '.join(REQUEST_COLUMNS)}")


def target_in_range(months: Sequence[MonthProfile]) -> Finding:
    """Check that every duration lies within the course's rule."""
    figures = [month.figures for month in months if month.figures is not None]
    if not figures:
        return Finding(Verdict.FAIL, f"the months have no trips; {_REMEDY}")
    shortest = min(month.shortest for month in figures)
    longest = max(month.longest for month in figures)
    in_range = shortest >= TARGET.lower and longest <= TARGET.upper
    sentence = f"durations from {shortest:.2f} to {longest:.2f} minutes"
    if not in_range:
        sentence += f", allowed {TARGET.lower} to {TARGET.upper}: materialize trip_features"
    verdict = Verdict.PASS if in_range else Verdict.FAIL
    return Finding(verdict, sentence, longest, float(TARGET.lower), float(TARGET.upper))


def zone_pair_coverage(train: Sequence[MonthProfile], test: Sequence[MonthProfile]) -> Finding:
    """Check that most test trips go between zone pairs seen in training."""
    seen = np.zeros(ZONE_CODES * ZONE_CODES, dtype=np.bool_)
    for month in train:
        if month.figures is not None:
            seen |= month.figures.pairs > 0
    measured = [month.figures for month in test if month.figures is not None]
    if not measured:
        return Finding(Verdict.SKIP, "there are no test trips")
    share = max(unseen_share(figures.pairs, seen) for figures in measured)
    sentence = f"{share:.1%} of the test trips go between zone pairs not seen in training"
    if share > _MOSTLY_UNSEEN:
        sentence += ": train on more months, or check whether zones were renumbered"
        return Finding(Verdict.WARN, sentence, share, 0.0, _MOSTLY_UNSEEN)
    return Finding(Verdict.PASS, sentence, share, 0.0, _MOSTLY_UNSEEN)

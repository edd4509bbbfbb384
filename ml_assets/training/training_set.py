"""Build the record of a training set from stored months, and load its trips."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from ml_assets.config.code_version import model_code_version
from ml_assets.evaluation.records import MonthSplit, Role, TrainingSet
from ml_assets.secrets import ShownError
from ml_assets.storage.month_profiles import MonthProfiles
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.row_sample import draw_rows, row_quotas
from ml_assets.training.windows import TrainingWindow
from ml_assets.trips.month import Month
from ml_assets.trips.quality.month_rejection import history_before, rejection_reasons
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

TABLE = "trip_features"
COLUMNS = [*REQUEST_COLUMNS, TARGET.name]

PART_ROWS: Final = 250_000
"""Rows of a part of a month that is read in parts."""

ReadTrips: TypeAlias = Callable[[], Iterator["pd.DataFrame"]]
"""Reads trips in parts, from the first on."""


class TrainingSetError(ShownError, ValueError):
    """A training set that cannot be built or loaded; the message names months and remedy."""


def build_training_set(
    store: TripStore, window: TrainingWindow, rejected: Mapping[Month, str] | None = None
) -> TrainingSet:
    """Record the months, rows, file checksums and code version of a training.

    The rules of the blocking data checks are applied here again, since a check guards only the run
    that it is part of. Reads only file footers and stored profiles.

    Args:
        rejected: Months that no model may be trained on, with the reason, if the caller has just
            computed them; by default :func:`rejected_months`.

    Raises:
        TrainingSetError: A month of the window is unusable; names each such month, the reason and
            the remedy.
    """
    months = sorted({*window.train, *window.validation, *window.test})
    rejected = rejected_months(store, months) if rejected is None else rejected
    unusable = [f"{month}: {rejected[month]}" for month in months if month in rejected]
    if unusable:
        raise TrainingSetError("unusable for training: " + " | ".join(unusable))
    uses = [
        use
        for role, months in (
            ("train", window.train),
            ("validation", window.validation),
            ("test", window.test),
        )
        for use in _uses(store, role, months)  # type: ignore[arg-type]
    ]
    return TrainingSet(
        dataset=store.dataset,
        taxi=store.taxi,
        synthetic=store.synthetic,
        months=uses,
        caveat=window.caveat,
        gaps=[str(month) for month in window.gaps],
        code_version=model_code_version(),
    )


def rejected_months(store: TripStore, months: Sequence[Month]) -> dict[Month, str]:
    """Return the months that must not be trained on, each with the reason.

    Includes months with damaged files, which no other month is compared with.
    """
    profiles = MonthProfiles(store)
    whole, rejected = profiles.readable_and_corrupt()
    for profile in whole:
        if reasons := rejection_reasons(profile, history_before(whole, profile.month)):
            rejected[Month.parse(profile.month)] = "; ".join(reasons)
    return {month: rejected[month] for month in sorted(set(months) & set(rejected))}


def load_trips(
    store: TripStore,
    training_set: TrainingSet,
    *roles: Role,
    max_rows: int | None = None,
    seed: int = 0,
) -> "pd.DataFrame":
    """Load the trips of the months with these roles, or a sample of them.

    Only the result and one month are in memory at a time: columns are allocated once at their
    final length and filled.

    Args:
        max_rows: Maximum rows of the result: beyond it, a sample of each month, stratified by
            pick-up zone. None loads all.
        seed: Seed of the sample.

    Returns:
        Request columns and ``duration_minutes``, one row per trip, months in order.

    Raises:
        TrainingSetError: A month was replaced since the record was made, by a republication or by
            other code.
        MonthNotFound: A month was removed.
    """
    quotas = _quotas(training_set, roles, max_rows)

    def drawn() -> "Iterator[pl.DataFrame]":
        every = read_months(store, training_set, *roles)
        for (month, frame), quota in zip(every, quotas, strict=True):
            if quota == frame.height:
                yield frame
            else:
                yield frame[draw_rows(frame["PULocationID"].to_numpy(), quota, seed, month)]

    return concat_months(drawn(), sum(quotas))


def read_months(
    store: TripStore, training_set: TrainingSet, *roles: Role, columns: Sequence[str] = COLUMNS
) -> "Iterator[tuple[Month, pl.DataFrame]]":
    """Read the months with these roles in order, one at a time.

    Raises:
        TrainingSetError: See :func:`load_trips`.
        MonthNotFound: A month was removed.
    """
    uses = {use.month: use for use in training_set.months if use.role in roles}
    for month in training_set.months_in(*roles):
        lineage, rows = store.lineage(TABLE, month)
        use = uses[str(month)]
        stored = (lineage.raw_sha256, lineage.code_version, rows)
        if stored != (use.raw_sha256, use.code_version, use.rows):
            raise TrainingSetError(
                f"{TABLE} of {month} was replaced since the training set was made: materialize "
                "training_set again, then the models"
            )
        yield month, store.read_table(TABLE, month, list(columns))


def past_trips(
    store: TripStore, training_set: TrainingSet, *roles: Role, fitted: int
) -> ReadTrips | None:
    """Return what reads all trips with these roles, if a model is fitted on fewer of them.

    Args:
        fitted: Rows of the fit.
    """
    if fitted >= training_set.rows_in(*roles):
        return None
    return lambda: read_trips(store, training_set, *roles)


def read_trips(
    store: TripStore, training_set: TrainingSet, *roles: Role, batch_rows: int = PART_ROWS
) -> "Iterator[pd.DataFrame]":
    """Read all trips of the months with these roles, at most ``batch_rows`` of a month at a time.

    Yields:
        Frames as of :func:`load_trips`.

    Raises:
        TrainingSetError: See :func:`load_trips`.
        MonthNotFound: A month was removed.
    """
    for _, frame in read_months(store, training_set, *roles):
        for part in frame.iter_slices(batch_rows):
            yield concat_months([part], part.height)
        del frame, part  # before the next month is read


def concat_months(frames: "Iterable[pl.DataFrame]", rows: int) -> "pd.DataFrame":
    """Concatenate frames of trips with only the result and one frame in memory at a time.

    Args:
        frames: Lazily read frames with the request columns and ``duration_minutes``.
        rows: Total number of rows.
    """
    import pandas as pd

    filled: dict[str, np.ndarray] = {}
    start = 0
    for frame in frames:
        for name in COLUMNS:
            values = frame[name].to_numpy()
            column = filled.setdefault(name, np.empty(rows, values.dtype))
            column[start : start + frame.height] = values
        start += frame.height
    return pd.DataFrame(filled, copy=False)


def _quotas(training_set: TrainingSet, roles: Sequence[Role], max_rows: int | None) -> list[int]:
    """Return the rows to draw from each month with these roles."""
    rows = {use.month: use.rows for use in training_set.months}
    months = training_set.months_in(*roles)
    return row_quotas([rows[str(month)] for month in months], max_rows)


def _uses(store: TripStore, role: Role, months: Sequence[Month]) -> list[MonthSplit]:
    uses = []
    for month in months:
        lineage, rows = store.lineage(TABLE, month)
        uses.append(
            MonthSplit(
                month=str(month),
                role=role,
                rows=rows,
                raw_sha256=lineage.raw_sha256,
                source=lineage.source,
                code_version=lineage.code_version,
            )
        )
    return uses

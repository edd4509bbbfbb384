"""Build the record of a training set from stored months, and load the trips it names."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ml_assets.config.code_version import model_code_version
from ml_assets.evaluation.records import MonthUse, Role, TrainingSet
from ml_assets.secrets import ShownError
from ml_assets.storage.month_profiles import MonthProfiles
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.windows import TrainingWindow
from ml_assets.trips.month import Month
from ml_assets.trips.quality import history_before, rejection_reasons
from ml_assets.trips.rules import REQUEST_COLUMNS, TARGET

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

TABLE = "trip_features"
COLUMNS = [*REQUEST_COLUMNS, TARGET]


class TrainingSetError(ShownError, ValueError):
    """A training set that cannot be built or loaded; names the months and the way out."""


def build_training_set(store: TripStore, window: TrainingWindow) -> TrainingSet:
    """Record which months, rows, file checksums and code a training stands on.

    A month that a blocking data check refuses is refused here by the same rules: a check guards
    only the run that it is part of. Reads footers and the kept profiles of months.

    Raises:
        TrainingSetError: when a month of the window is not fit to be trained on; names each such
            month, why, and the way out.
    """
    _reject_unusable(store, sorted({*window.train, *window.tune, *window.judge}))
    uses = [
        use
        for role, months in (
            ("train", window.train),
            ("tune", window.tune),
            ("judge", window.judge),
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
    """Those of the stored months that nothing should be learned from, each with why.

    A month whose files are damaged is among them, and no other month is compared with it.
    """
    profiles = MonthProfiles(store)
    whole, refused = profiles.readable_and_corrupt()
    for profile in whole:
        if found := rejection_reasons(profile, history_before(whole, profile.month)):
            refused[Month.parse(profile.month)] = "; ".join(found)
    return {month: refused[month] for month in sorted(set(months) & set(refused))}


def load_trips(store: TripStore, training_set: TrainingSet, *roles: Role) -> "pd.DataFrame":
    """The trips of the months with these roles, one month after the other.

    Only the result and one month are in memory at a time: columns are allocated once at their
    final length and filled.

    Args:
        store: Where the months are.
        training_set: The record that names them.
        roles: Any of ``train``, ``tune`` and ``judge``.

    Returns:
        Request columns and ``duration_minutes``, one row a trip, months in order.

    Raises:
        TrainingSetError: when a month was replaced since the record was made, by another
            publication or by other code.
        MonthNotFound: when a month is gone.
    """
    uses = {use.month: use for use in training_set.months if use.role in roles}
    frames = (_recorded(store, month, uses[str(month)]) for month in training_set.months_of(*roles))
    return concat_months(frames, training_set.rows_of(*roles))


def concat_months(frames: "Iterable[pl.DataFrame]", rows: int) -> "pd.DataFrame":
    """Frames of trips as one, of which only the result and one frame are in memory at a time.

    Args:
        frames: Read when they are asked for; request columns and ``duration_minutes``.
        rows: How many they have together.
    """
    import numpy as np
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


def _recorded(store: TripStore, month: Month, use: MonthUse) -> "pl.DataFrame":
    """The trips of a month, which has to be the one of the record."""
    lineage, rows = store.lineage(TABLE, month)
    stored = (lineage.raw_sha256, lineage.code_version, rows)
    if stored != (use.raw_sha256, use.code_version, use.rows):
        raise TrainingSetError(
            f"{TABLE} of {month} was replaced since the training set was made: materialize "
            "training_set again, then the models"
        )
    return store.read_table(TABLE, month, COLUMNS)


def _reject_unusable(store: TripStore, months: Sequence[Month]) -> None:
    refused = rejected_months(store, months)
    unfit = [f"{month}: {why}" for month, why in refused.items()]
    if unfit:
        raise TrainingSetError("not fit to be trained on: " + " | ".join(unfit))


def _uses(store: TripStore, role: Role, months: Sequence[Month]) -> list[MonthUse]:
    uses = []
    for month in months:
        lineage, rows = store.lineage(TABLE, month)
        uses.append(
            MonthUse(
                month=str(month),
                role=role,
                rows=rows,
                raw_sha256=lineage.raw_sha256,
                source=lineage.source,
                code_version=lineage.code_version,
            )
        )
    return uses

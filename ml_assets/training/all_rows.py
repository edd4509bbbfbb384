"""Fit a family on all rows of its months, which are read a part of a month at a time.

The encoder learns its tables from all of them and encodes each out of fold, as in every fit. What
the estimator keeps of the rows is the family's matter (``ModelFamily.fit_batches``): XGBoost keeps
two bytes for each value, in memory or, beyond ``MAX_ROWS_CACHED_IN_MEMORY``, on disk.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ml_assets.config.cores import processor_seconds
from ml_assets.evaluation.records import FittedRows, Role, TrainingSet
from ml_assets.pipeline.background_sample import attach_background_sample
from ml_assets.pipeline.bounded_regressor import rows_without_distance
from ml_assets.pipeline.conformal_intervals import copy_intervals
from ml_assets.requests.parse import states_distance
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.families.base import ModelFamily, RowBatches
from ml_assets.training.fit import FittedModel, fit_tables, has_tables, target_minutes
from ml_assets.training.plan import MAX_ROWS_CACHED_IN_MEMORY
from ml_assets.training.training_set import load_trips, read_trips

BATCH_ROWS: Final = 1_000_000
"""Rows that a family gets at a time: 0.14 GB, encoded."""

BACKGROUND_ROWS: Final = 100_000
"""Trips of the stratified sample that the background sample is drawn from."""

Rows = tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]


def is_fitted_in_parts(family: ModelFamily, rows: FittedRows | None, available: int) -> bool:
    """Return whether a model is fitted again on all rows, in parts.

    Args:
        rows: The recorded rows of its fit; None in the oldest records.
        available: Trips to fit it on.

    Returns:
        False for a fit in memory: the family has no fit in parts, the model was fitted on a bounded
        number of rows, or the trips are within the bound of a fit in memory.
    """
    if family.fit_batches is None or (rows is not None and rows.max_rows is not None):
        return False
    if rows is not None and rows.sample_rows is not None:
        return True
    return family.max_rows is not None and available > family.max_rows


def fit_on_all_rows(
    family: ModelFamily,
    unfitted: Pipeline,
    store: TripStore,
    training_set: TrainingSet,
    *roles: Role,
    seed: int,
) -> Pipeline:
    """Fit a pipeline on all trips of the months with these roles.

    Memory does not grow with the months, but for what the estimator keeps of each row.

    Args:
        unfitted: Pipeline as made by ``ModelFamily.make_pipeline``, or a clone of a fitted one.
        seed: Seed of the sample that the background sample is drawn from.

    Returns:
        The fitted pipeline, with a background sample and without prediction intervals.

    Raises:
        ValueError: The family cannot be fitted in batches, or its encoder.
        TrainingSetError: A month was replaced since the record was made.
    """
    fit_batches, steps = family.fit_batches, clone(Pipeline(unfitted.steps[:-1]))
    if fit_batches is None:
        raise ValueError(f"{family.name} cannot be fitted in batches: choose a number of rows")
    if not has_tables(steps):
        raise ValueError(
            f"the encoder of {family.name} cannot learn from batches: it has no fit_parts"
        )
    sample = load_trips(store, training_set, *roles, max_rows=BACKGROUND_ROWS, seed=seed)
    features, encoder = steps[:-1].fit(sample), steps[-1]
    model = clone(unfitted[-1])
    columns, any_stated = model.distance_columns, False

    def past() -> Iterator[pd.DataFrame]:
        nonlocal any_stated
        for trips in read_trips(store, training_set, *roles):
            any_stated = any_stated or bool(states_distance(trips["trip_distance"]).any())
            yield trips

    of_others = fit_tables(steps, past)

    def every() -> Iterator[Rows]:
        for trips in read_trips(store, training_set, *roles, batch_rows=BATCH_ROWS):
            matrix, minutes = features.transform(trips), target_minutes(trips, "training")
            del trips
            yield encoder.encode_fitted(matrix, of_others), minutes

    def stated(rows: Rows) -> Rows:
        known = rows[0][:, -1] > 0 if any_stated else np.ones(len(rows[1]), dtype=bool)
        if known.all():
            return rows[0][:, :-1], rows[1]
        return rows[0][known, :-1], rows[1][known]

    def without_distance(rows: Rows) -> Rows:
        return rows_without_distance(*rows, columns, model.share_without_distance)

    def fit(regressor: Any, select: Callable[[Rows], Rows]) -> Any:
        with store.staging_dir() as folder:
            place = folder if training_set.rows_in(*roles) > MAX_ROWS_CACHED_IN_MEMORY else None
            fit_batches(regressor, RowBatches(lambda: map(select, every()), place))
        return regressor

    fitted = fit(clone(model.regressor), stated)
    other = model.regressor if model.without_distance is None else model.without_distance
    usual = fit(clone(other), without_distance)
    pipeline = Pipeline([*steps.steps, ("model", model.wrap_fitted(fitted, usual))])
    attach_background_sample(pipeline, sample)
    return pipeline


def refit_on_all_rows(
    fitted: FittedModel,
    family: ModelFamily,
    store: TripStore,
    training_set: TrainingSet,
    *roles: Role,
    seed: int,
) -> FittedModel:
    """Fit the same pipeline on all trips, as :func:`ml_assets.training.fit.refit` on a frame."""
    started, cpu_started = time.perf_counter(), processor_seconds()
    pipeline = fit_on_all_rows(family, fitted.pipeline, store, training_set, *roles, seed=seed)
    copy_intervals(fitted.pipeline, pipeline)
    return replace(
        fitted,
        pipeline=pipeline,
        fit_seconds=time.perf_counter() - started,
        fit_cpu_seconds=processor_seconds() - cpu_started,
        validation_predicted=None,
    )

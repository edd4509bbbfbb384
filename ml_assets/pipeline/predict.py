"""Predictions of a fitted pipeline with its version, for columns or frames of requests."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import polars as pl

from ml_assets.config.cores import free_cores
from ml_assets.requests.parse import columns_of, states_distance
from ml_assets.requests.validate import DISTANCE, DISTANCE_MILES, REASON, check_requests
from ml_assets.trips.request_columns import REQUEST_COLUMNS, STATED, USUAL, ZONE_CODES
from ml_assets.trips.target import TARGET

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from ml_assets.pipeline.features import RequestColumns

_T = TypeVar("_T")

PREDICTION_TYPES: Final = {
    **dict.fromkeys(TARGET.prediction_fields, pl.Float64()),
    DISTANCE: pl.String(),
    DISTANCE_MILES: pl.Float64(),
    "model_version": pl.String(),
    "scored_at": pl.Datetime("us", "UTC"),
}
"""Columns of a prediction; the bounds are null for a model without intervals, and usual miles for
one without a zone map."""

ROWS_AT_ONCE = 250_000
"""Rows per batch. Predicting takes half a kilobyte a row, 2 GB for a month of yellow trips."""


@dataclass(frozen=True)
class Predictions:
    """Predicted minutes, interval bounds and used distances of requests, in their order.

    Attributes:
        minutes: Predicted minutes, shape (n,).
        lower: Lower bounds of the prediction intervals, shape (n,); None without intervals.
        upper: Upper bounds, shape (n,); None without intervals.
        stated: Whether the request's own distance was used, shape (n,).
        miles: Used distance: the stated one, or the usual one of the two zones, shape (n,); NaN
            where that is not known.
    """

    minutes: "npt.NDArray[np.float64]"
    lower: "npt.NDArray[np.float64] | None"
    upper: "npt.NDArray[np.float64] | None"
    stated: "npt.NDArray[np.bool_]"
    miles: "npt.NDArray[np.float64]"

    @property
    def columns(self) -> "tuple[npt.NDArray[np.float64] | None, ...]":
        """Predictions, lower and upper bounds, in the order of ``Target.prediction_fields``."""
        return self.minutes, self.lower, self.upper

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the fields of each prediction as plain values; NaN for unknown miles."""
        none = [None] * len(self.minutes)
        columns = [none if column is None else column.tolist() for column in self.columns]
        distances = [STATED if stated else USUAL for stated in self.stated.tolist()]
        names = (*TARGET.prediction_fields, DISTANCE, DISTANCE_MILES)
        for row in zip(*columns, distances, self.miles.tolist(), strict=True):
            yield dict(zip(names, row, strict=True))

    def of(self, row: int) -> "Predictions":
        """Return the prediction of one request."""
        one = slice(row, row + 1)
        lower, upper = self.lower, self.upper
        return Predictions(
            self.minutes[one],
            None if lower is None else lower[one],
            None if upper is None else upper[one],
            self.stated[one],
            self.miles[one],
        )


@dataclass(frozen=True)
class Model:
    """A fitted pipeline and its version."""

    pipeline: "Pipeline"
    version: str

    def predict(self, columns: "RequestColumns") -> Predictions:
        """Predict one or more valid requests."""
        from ml_assets.pipeline.conformal_intervals import interval_bounds, seen_pairs

        # Equivalent to Pipeline.predict without the 0.07 ms that it takes to check tags.
        minutes = self.pipeline[-1].predict(_encode(self.pipeline, columns))
        miles = columns["trip_distance"]
        stated = states_distance(miles)
        zones = columns["PULocationID"], columns["DOLocationID"]
        seen = seen_pairs(self.pipeline, *zones)
        bounds = interval_bounds(self.pipeline, minutes, stated, seen)
        lower, upper = (None, None) if bounds is None else bounds
        if not stated.all():
            usual = self.usual_miles(*zones)
            miles = np.where(stated, miles, usual)
        return Predictions(minutes, lower, upper, stated, miles)

    def usual_miles(
        self, pickup: "npt.NDArray[Any]", dropoff: "npt.NDArray[Any]"
    ) -> "npt.NDArray[np.float64]":
        """Return the usual miles between zones, by the pipeline's zone map of past trips.

        Args:
            pickup: Pick-up zones, 1 to 265, shape (n,).
            dropoff: Drop-off zones, 1 to 265, shape (n,).

        Returns:
            Miles, shape (n,); NaN for a pipeline without a zone map.
        """
        if self._miles_of_pair is None:
            return np.full(len(pickup), np.nan)
        miles: npt.NDArray[np.float64] = self._miles_of_pair[
            pickup.astype(np.intp) * ZONE_CODES + dropoff
        ]
        return miles

    @cached_property
    def _miles_of_pair(self) -> "npt.NDArray[np.float64] | None":
        """Usual miles of every zone pair, so that single requests and lists have the same bits."""
        from ml_assets.pipeline.zone_map import get_zone_map

        zone_map = get_zone_map(self.pipeline)
        return None if zone_map is None else np.exp(zone_map.usual_log_miles.astype(np.float64))

    def predict_frame(
        self, requests: pl.DataFrame, scored_at: datetime | None = None
    ) -> pl.DataFrame:
        """Predict valid requests.

        Args:
            requests: ``REQUEST_COLUMNS`` as in ``CheckedRequests.requests`` or ``trip_features``;
                other columns are ignored.
            scored_at: Time of the prediction; by default now.

        Returns:
            One row per request, in order, with the columns of ``PREDICTION_TYPES``.
        """
        at = pl.lit(scored_at or datetime.now(UTC), PREDICTION_TYPES["scored_at"])
        if requests.is_empty():  # scikit-learn rejects empty input
            return pl.DataFrame(schema=PREDICTION_TYPES)
        predictions = self.predict(columns_of(requests))
        frame = pl.DataFrame(
            dict(zip(TARGET.prediction_fields, predictions.columns, strict=True)),
            schema_overrides=dict.fromkeys(TARGET.prediction_fields[1:], pl.Float64),
        )
        distance = (
            pl.when(pl.Series(predictions.stated)).then(pl.lit(STATED)).otherwise(pl.lit(USUAL))
        )
        return frame.with_columns(
            distance.alias(DISTANCE),
            pl.Series(DISTANCE_MILES, predictions.miles, nan_to_null=True),
            model_version=pl.lit(self.version),
            scored_at=at,
        )

    def predict_or_reject(
        self,
        frame: pl.DataFrame,
        now: datetime | None = None,
        faults: Mapping[int, str] | None = None,
    ) -> pl.DataFrame:
        """Predict the valid rows of a frame, and give the reason for the others.

        Args:
            frame: Rows as for ``check_requests``.
            now: Pick-up time of requests without one.
            faults: Rows (from 0) that are rejected whatever their values, with the reason.

        Returns:
            One row per row, in order: the columns of ``PREDICTION_TYPES``, all null for an invalid
            request, and ``reason``, null for a valid one.
        """
        checked = check_requests(frame, now)
        rows = pl.DataFrame(
            {"row": pl.int_range(frame.height, eager=True), REASON: checked.reasons}
        )
        predicted = rows.filter(checked.valid).select("row")
        predicted = predicted.hstack(self.predict_frame(checked.requests))
        joined = rows.join(predicted, on="row", how="left", maintain_order="left")
        predictions = joined.select(*PREDICTION_TYPES, REASON)
        if not faults:
            return predictions
        fault = pl.Series([faults.get(row) for row in range(frame.height)], dtype=pl.String)
        kept = {name: pl.when(fault.is_null()).then(pl.col(name)) for name in PREDICTION_TYPES}
        return predictions.with_columns(**kept, **{REASON: fault.fill_null(predictions[REASON])})


def predict_trips(pipeline: Any, trips: "pd.DataFrame") -> "npt.NDArray[np.float64]":
    """Predict the minutes of trips, shape (n,), in batches; rows are independent.

    Each free core predicts a batch: forests predict in one thread, so that sums have the same bits,
    and a month of yellow trips would keep one core busy for minutes.

    Args:
        trips: Trips with ``REQUEST_COLUMNS``; other columns are ignored.
    """
    predicted = _in_batches(lambda batch: pipeline.predict(batch), trips)
    return np.concatenate(predicted) if predicted else np.empty(0)


def predict_modes(
    pipeline: Any, trips: "pd.DataFrame"
) -> "tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]":
    """Predict the minutes of trips with their own distances, and without distances.

    Equal to ``predict_trips`` of the trips and of ``without_distance(trips)``; a pipeline with two
    regressors encodes the trips only once.
    """
    steps = getattr(pipeline, "steps", None)
    if not trips.empty and steps and getattr(steps[-1][1], "has_two_regressors", False):
        model = steps[-1][1]
        modes = _in_batches(lambda batch: model.predict_modes(_encode(pipeline, batch)), trips)
        stated, usual = zip(*modes, strict=True)
        return np.concatenate(stated), np.concatenate(usual)
    return predict_trips(pipeline, trips), predict_trips(pipeline, without_distance(trips))


def _in_batches(predict: "Callable[[pd.DataFrame], _T]", trips: "pd.DataFrame") -> list[_T]:
    """Return the predictions of each batch, in order."""

    def run(first: int) -> _T:
        return predict(trips.iloc[first : first + ROWS_AT_ONCE][list(REQUEST_COLUMNS)])

    starts = range(0, len(trips), ROWS_AT_ONCE)
    threads = min(free_cores(), len(starts))
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(run, starts))
    return [run(first) for first in starts]


def _encode(pipeline: "Pipeline", requests: Any) -> Any:
    """Encode requests, equivalent to ``pipeline[:-1].transform`` without the checks of tags."""
    for _, step in pipeline.steps[:-1]:
        requests = step.transform(requests)
    return requests


def without_distance(trips: "pd.DataFrame") -> "pd.DataFrame":
    """Return the trips as requests that leave the distance out; the other columns are shared."""
    return trips.assign(trip_distance=np.nan)

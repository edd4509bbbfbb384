"""A fitted pipeline with its version, and its answers to requests: columns or frames of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from ml_assets.requests.parse import columns_of
from ml_assets.requests.validate import REASON, check_requests
from ml_assets.trips.rules import REQUEST_COLUMNS

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from ml_assets.pipeline.features import RequestColumns

ANSWER_TYPES: Final = {
    "predicted_minutes": pl.Float64(),
    "lower_minutes": pl.Float64(),
    "upper_minutes": pl.Float64(),
    "model_version": pl.String(),
    "scored_at": pl.Datetime("us", "UTC"),
}
"""What is answered to a request; the bounds are null when the model has none."""

ROWS_AT_ONCE = 250_000
"""Half a kilobyte a row is needed on the way, 2 GB for a month of yellow trips in one piece."""


@dataclass(frozen=True)
class Answers:
    """Minutes for requests, in their order.

    Attributes:
        minutes: Predicted, shape (n,).
        lower: Lower bounds of the prediction intervals, shape (n,); None when the model has none.
        upper: Upper bounds likewise.
    """

    minutes: "npt.NDArray[np.float64]"
    lower: "npt.NDArray[np.float64] | None"
    upper: "npt.NDArray[np.float64] | None"

    def of(self, row: int) -> "Answers":
        """Those of one request."""
        one = slice(row, row + 1)
        lower, upper = self.lower, self.upper
        return Answers(
            self.minutes[one],
            None if lower is None else lower[one],
            None if upper is None else upper[one],
        )


@dataclass(frozen=True)
class Model:
    """What predicts.

    Attributes:
        pipeline: Fitted, from requests to minutes.
        version: Registry version.
    """

    pipeline: "Pipeline"
    version: str

    def minutes(self, columns: "RequestColumns") -> Answers:
        """Predict valid requests, at least one.

        Args:
            columns: As ``requests.parse`` makes them, of one request or of many.
        """
        from ml_assets.pipeline.conformal_intervals import interval_bounds

        # What Pipeline.predict does, less its 0.07 ms of asking each step for its tags.
        features: Any = columns
        for _, step in self.pipeline.steps[:-1]:
            features = step.transform(features)
        minutes = self.pipeline[-1].predict(features)
        return Answers(minutes, *(interval_bounds(self.pipeline, minutes) or (None, None)))

    def answers(self, requests: pl.DataFrame, scored_at: datetime | None = None) -> pl.DataFrame:
        """Predict valid requests.

        Args:
            requests: ``REQUEST_COLUMNS`` as in ``CheckedRequests.requests`` or ``trip_features``;
                further columns are left aside.
            scored_at: An instant; by default the present.

        Returns:
            A row for each request, in order, with the columns of ``ANSWER_TYPES``.
        """
        at = pl.lit(scored_at or datetime.now(UTC), ANSWER_TYPES["scored_at"])
        if requests.is_empty():  # scikit-learn refuses to predict nothing
            return pl.DataFrame(schema=ANSWER_TYPES)
        answers = self.minutes(columns_of(requests))
        frame = pl.DataFrame(
            {
                "predicted_minutes": answers.minutes,
                "lower_minutes": answers.lower,
                "upper_minutes": answers.upper,
            },
            schema_overrides=dict.fromkeys(("lower_minutes", "upper_minutes"), pl.Float64),
        )
        return frame.with_columns(model_version=pl.lit(self.version), scored_at=at)

    def predict_or_reject(
        self,
        frame: pl.DataFrame,
        now: datetime | None = None,
        scored_at: datetime | None = None,
        faults: Mapping[int, str] | None = None,
    ) -> pl.DataFrame:
        """Predict the valid ones among any rows.

        Args:
            frame: Rows as ``check_requests`` takes them.
            now: The pick-up time of requests that state none.
            scored_at: An instant; by default the present.
            faults: Why rows (from 0) are no requests, whatever their values.

        Returns:
            A row for each row, in order: the columns of ``ANSWER_TYPES``, all null where the row is
            no valid request, and ``reason``, null where it is.
        """
        checked = check_requests(frame, now)
        rows = pl.DataFrame(
            {"row": pl.int_range(frame.height, eager=True), REASON: checked.reasons}
        )
        answered = rows.filter(checked.valid).select("row")
        answered = answered.hstack(self.answers(checked.requests, scored_at))
        joined = rows.join(answered, on="row", how="left", maintain_order="left")
        answers = joined.select(*ANSWER_TYPES, REASON)
        if not faults:
            return answers
        fault = pl.Series([faults.get(row) for row in range(frame.height)], dtype=pl.String)
        kept = {name: pl.when(fault.is_null()).then(pl.col(name)) for name in ANSWER_TYPES}
        return answers.with_columns(**kept, **{REASON: fault.fill_null(answers[REASON])})


def predict_trips(pipeline: Any, trips: "pd.DataFrame") -> "npt.NDArray[np.float64]":
    """Predicted minutes of trips, shape (n,), piece by piece: no row knows of another.

    Args:
        pipeline: Fitted, from the columns of requests to minutes.
        trips: With ``REQUEST_COLUMNS``; further columns are left aside.
    """
    requests = list(REQUEST_COLUMNS)
    pieces = [
        pipeline.predict(trips.iloc[first : first + ROWS_AT_ONCE][requests])
        for first in range(0, len(trips), ROWS_AT_ONCE)
    ]
    return np.concatenate(pieces) if pieces else np.empty(0)

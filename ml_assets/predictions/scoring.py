"""A fitted pipeline with its version, and its answers to frames of requests."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import polars as pl

from ml_assets.trips.requests import check_requests
from ml_assets.trips.rules import REQUEST_COLUMNS

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

ANSWER_TYPES: Final = {
    "predicted_minutes": pl.Float64(),
    "lower_minutes": pl.Float64(),
    "upper_minutes": pl.Float64(),
    "model_version": pl.String(),
    "scored_at": pl.Datetime("us", "UTC"),
}
"""What is answered to a request; the bounds are null when the model has none."""

REASON: Final = "reason"
"""Why a row has no answer; null where it has one."""


@dataclass(frozen=True)
class Model:
    """What predicts.

    Attributes:
        pipeline: Fitted, from a frame of requests to minutes.
        version: Registry version.
    """

    pipeline: "Pipeline"
    version: str

    def answers(self, requests: pl.DataFrame, scored_at: datetime | None = None) -> pl.DataFrame:
        """Predict valid requests.

        Args:
            requests: ``REQUEST_COLUMNS`` as in ``CheckedRequests.requests`` or ``trip_features``;
                further columns are left aside.
            scored_at: An instant; by default the present.

        Returns:
            A row for each request, in order, with the columns of ``ANSWER_TYPES``.
        """
        from ml_assets.modeling.intervals import interval_bounds

        at = pl.lit(scored_at or datetime.now(UTC), ANSWER_TYPES["scored_at"])
        if requests.is_empty():  # scikit-learn refuses to predict nothing
            return pl.DataFrame(schema=ANSWER_TYPES)
        minutes = self.pipeline.predict(requests.select(REQUEST_COLUMNS).to_pandas())
        bounds = interval_bounds(self.pipeline, minutes)
        lower, upper = bounds if bounds is not None else (None, None)
        frame = pl.DataFrame(
            {"predicted_minutes": minutes, "lower_minutes": lower, "upper_minutes": upper},
            schema_overrides=dict.fromkeys(("lower_minutes", "upper_minutes"), pl.Float64),
        )
        return frame.with_columns(model_version=pl.lit(self.version), scored_at=at)

    def answers_or_reasons(
        self,
        frame: pl.DataFrame,
        now: datetime | None = None,
        scored_at: datetime | None = None,
    ) -> pl.DataFrame:
        """Predict the valid ones among any rows.

        Args:
            frame: Rows as ``check_requests`` takes them.
            now: The pick-up time of requests that state none.
            scored_at: An instant; by default the present.

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
        return joined.select(*ANSWER_TYPES, REASON)

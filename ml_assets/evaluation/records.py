"""JSON records of a training: its months, the metrics of its models, the leaderboard."""

import hashlib
import math
from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from ml_assets.storage.former_names import StoredRecord
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET

Role = Literal["train", "validation", "test"]


class MonthSplit(StoredRecord):
    """One month of a training set: role, rows, and the version of its file and of the code."""

    month: str
    role: Role
    rows: int
    raw_sha256: str
    source: str
    code_version: str


class TrainingSet(StoredRecord):
    """The training, validation and test months; equal contents have equal fingerprints."""

    dataset: str
    taxi: str
    synthetic: bool
    months: list[MonthSplit]
    caveat: str | None
    gaps: list[str]
    code_version: str

    def months_in(self, *roles: Role) -> list[Month]:
        """Return the months with one of these roles, in order and without duplicates."""
        return sorted({Month.parse(use.month) for use in self.months if use.role in roles})

    def rows_in(self, *roles: Role) -> int:
        """Return the number of kept trips in the months with one of these roles."""
        rows = {use.month: use.rows for use in self.months if use.role in roles}
        return sum(rows.values())

    @property
    def fingerprint(self) -> str:
        """Digest of the record in 16 hex digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def validation_is_test(self) -> bool:
        """Whether one month is both, because only two months were available."""
        return self.months_in("validation") == self.months_in("test")


class MetricsRecord(StoredRecord):
    """Errors over ``rows`` trips, e = predicted - actual, in minutes where a unit applies.

    Attributes:
        rmse: sqrt(mean(e²)), minutes.
        mae: mean(abs(e)), minutes.
        mape: mean(abs(e) / actual), a fraction (0.25 is 25 %).
        r2: 1 - sum(e²) / sum((actual - mean(actual))²); NaN for a single trip.
        share_within_5_minutes: mean(abs(e) <= 5), a fraction.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")  # for the NaN of r2

    rmse: float
    mae: float
    mape: float
    r2: float
    share_within_5_minutes: float
    rows: int


class SliceRecord(StoredRecord):
    """Metrics on one slice of the test month."""

    slice: str
    metrics: MetricsRecord


class IntervalSlice(StoredRecord):
    """Coverage of the intervals on one slice, and their mean width in minutes."""

    slice: str
    coverage: float
    mean_width: float
    rows: int


class IntervalRecord(StoredRecord):
    """Coverage of the prediction intervals on the test month, and their mean width in minutes.

    Attributes:
        fifths: The same for each fifth of the predictions, the shortest first; empty in old records
            and with few trips.
        calibrated_with_metered: Whether the trips had no distance, and the intervals are those of
            metered distances: the model was stored before both were calibrated apart.
    """

    nominal: float
    coverage: float
    mean_width: float
    rows: int
    calibrated_rows: int
    slices: list[IntervalSlice]
    fifths: list[IntervalSlice] = Field(default_factory=list)
    calibrated_with_metered: bool = False


DEFAULT_SHARE_STATED: Final = 0.5
"""Share of requests that state their distance, assumed until the request log shows it: the page
leaves the distance out, a router or a driver states it, and nothing is known yet of who asks."""


def weighted_rmse(stated: float, usual: float | None, share_stated: float) -> float:
    """Return the RMSE of requests of which a share states its distance, in the unit of the errors.

    Args:
        stated: RMSE with the metered distance.
        usual: RMSE without a distance; None when unknown, then the other one counts for all.
        share_stated: Share of requests that state their distance, 0 to 1.
    """
    if usual is None:
        return stated
    return math.sqrt(share_stated * stated**2 + (1 - share_stated) * usual**2)


class UsualRecord(StoredRecord):
    """The evaluation on the test month as if no request stated its distance.

    The distance of a published trip is metered, and so known only after it: a model's other figures
    are those of requests that state exactly what the meter will show.
    """

    test: MetricsRecord
    slices: list[SliceRecord]
    interval: IntervalRecord | None = None
    predictions_sha256: str | None = None


class DistanceError(StoredRecord):
    """RMSE in minutes on ``rows`` test trips when requests state this distance.

    Attributes:
        distance: ``metered``, ``0.8 × metered``, …, or ``left out``.
        coverage: Share of the trips within the intervals; None without intervals and in old
            records.
    """

    distance: str
    rmse: float
    rows: int
    coverage: float | None = None


class FittedRows(StoredRecord):
    """The rows that a model was fitted on.

    Attributes:
        fitted: Number of rows of the fit.
        available: Number of kept trips in its months.
        max_rows: Bound of the fit, beyond which it gets a sample stratified by month and pick-up
            zone; None without one.
        sample_rows: Rows of the sample that parameters, rounds and intervals come from, if the
            final fit has all rows in parts; None otherwise.
        tables_of_all: Whether a model of a sample has an encoder with tables of all trips.
    """

    fitted: int
    available: int
    max_rows: int | None = None
    sample_rows: int | None = None
    tables_of_all: bool = False

    @property
    def description(self) -> str:
        """The rows and how they were chosen, in words."""
        if self.sample_rows is not None:
            return f"all {self.available:,} trips, tuned on a sample of {self.sample_rows:,}"
        if self.fitted >= self.available:
            return f"all {self.available:,} trips"
        tables = ", encoded by tables of all" if self.tables_of_all else ""
        return (
            f"{self.fitted:,} of {self.available:,} trips, a sample stratified by month and "
            f"pick-up zone{tables}"
        )


PICKUP_ZONE, DROPOFF_ZONE, HOUR, DISTANCE = "pickup_zone", "dropoff_zone", "hour", "distance"
"""Names of the groups of errors."""


class GroupErrors(StoredRecord):
    """Errors of the trips with each value of a field, in minutes, one entry for each value.

    Attributes:
        values: Zones, hours, or lower edges of distance bands, ascending; only those with trips.
        trips: Number of trips.
        rmse: Root mean squared error.
        mae: Mean absolute error.
        bias: Mean of predicted minus actual minutes; below 0 where trips take longer.
    """

    values: list[float]
    trips: list[int]
    rmse: list[float]
    mae: list[float]
    bias: list[float]


class BinnedErrors(StoredRecord):
    """Errors of predictions in one mode of a request.

    Attributes:
        groups: Errors by ``pickup_zone``, ``dropoff_zone``, ``hour`` and ``distance``.
        residuals: Trips by bin of predicted minus actual minutes, see ``RESIDUAL_EDGES`` of
            :mod:`.error_profile`.
        predicted_against_actual: Trips by bin of actual minutes (row) and of predicted minutes
            (column), see ``MINUTE_EDGES`` there.
    """

    groups: dict[str, GroupErrors]
    residuals: list[int]
    predicted_against_actual: list[list[int]]

    @property
    def trips(self) -> int:
        """Number of trips."""
        return sum(self.residuals)


class ErrorProfile(StoredRecord):
    """Errors of one fitted model on one month.

    Attributes:
        run_id: The model's MLflow run; empty without one.
        raw_sha256: SHA-256 of the month's published file.
        stated: Errors with the metered distance of each trip.
        usual: Errors without a distance.
    """

    model: str
    run_id: str = ""
    month: str
    raw_sha256: str
    trips: int
    stated: BinnedErrors
    usual: BinnedErrors


def errors_record(asset: str) -> str:
    """Return the name of the record in which a model's asset keeps its ``ErrorProfile``."""
    return f"{asset}/errors"


class ModelRecord(StoredRecord):
    """A fitted and evaluated model: months, parameters, metrics, cost and MLflow run.

    Fields with a default are absent from the oldest records or do not apply to baselines.

    Attributes:
        validation_months: Months on which its parameters and rounds were chosen and its intervals
            calibrated.
        rows: How many of the trips of its months it was fitted on; None in the oldest records.
        train: Metrics on a sample of the rows that it was fitted on, to compare with ``test``.
        validation: Metrics on the validation month, of the fit without that month.
        test: Metrics on the test month, with the metered distance of each trip.
        usual: The same without the distance; None in the oldest records.
        distance_errors: What a wrong distance costs, on a sample of the test month; empty in the
            oldest records and for baselines.
        predictions_sha256: Digest of its test predictions in the process that fitted it.
        fit_seconds: Wall time of the final fit.
        fit_cpu_seconds: Processor time of the final fit over all threads; None when not recorded.
        predict_seconds: Wall time of predicting the test month, on average of both modes.
        seconds, cpu_seconds: Wall and processor time of tuning, fitting and evaluating.
    """

    model: str
    kind: Literal["model", "baseline"]
    training_set: str
    training_months: list[str]
    validation_months: list[str] = Field(default_factory=list)
    parameters: dict[str, Any] = Field(default_factory=dict)
    trials: int = 0
    seed: int = 42
    refit_on_validation: bool = True
    rows: FittedRows | None = None
    train: MetricsRecord | None = None
    validation: MetricsRecord
    test: MetricsRecord
    slices: list[SliceRecord]
    interval: IntervalRecord | None = None
    usual: UsualRecord | None = None
    distance_errors: list[DistanceError] = Field(default_factory=list)
    fit_seconds: float = 0.0
    fit_cpu_seconds: float | None = None
    tuning_seconds: float = 0.0
    predict_seconds: float
    size_bytes: int
    predictions_sha256: str | None = None
    mlflow_run_id: str | None = None
    model_uri: str | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def max_rows(self) -> int | None:
        """Bound of the rows that it was fitted on; None without one."""
        return self.rows.max_rows if self.rows is not None else None

    @property
    def usual_rmse(self) -> float | None:
        """RMSE on the test month without distances, minutes; None in the oldest records."""
        return self.usual.test.rmse if self.usual is not None else None

    @property
    def usual_interval(self) -> IntervalRecord | None:
        """Coverage on the test month without distances; None without intervals, or if unknown."""
        return self.usual.interval if self.usual is not None else None

    def has_seen(self, month: Month) -> bool:
        """Whether this or a later month was used for the fit or to choose the parameters."""
        seen = [Month.parse(text) for text in (*self.training_months, *self.validation_months)]
        return not self.validation_months or max(seen) >= month

    def request_rmse(self, share_stated: float = DEFAULT_SHARE_STATED) -> float:
        """Return the test RMSE of requests of which this share states its distance, minutes."""
        usual = None if self.usual is None else self.usual.test.rmse
        return weighted_rmse(self.test.rmse, usual, share_stated)


def comparable_share(
    rows: Iterable[ModelRecord], share_stated: float = DEFAULT_SHARE_STATED
) -> float:
    """Return the share of stated distances that rows can be compared with.

    It is 1, for the error with the metered distance only, if a row has no other.
    """
    return share_stated if all(row.usual for row in rows) else 1.0


class Leaderboard(StoredRecord):
    """The models and baselines evaluated on one test month, best first.

    ``seconds`` and ``cpu_seconds`` are the cost of evaluating the baselines and ranking.
    """

    training_set: str
    test_month: str
    synthetic: bool
    caveat: str | None
    rows: list[ModelRecord]
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def models(self) -> list[ModelRecord]:
        """The rows of models, best first."""
        return [row for row in self.rows if row.kind == "model"]

    @property
    def baselines(self) -> list[ModelRecord]:
        """The rows of baselines, best first."""
        return [row for row in self.rows if row.kind == "baseline"]

    @property
    def best(self) -> ModelRecord | None:
        """The best model; None without a model."""
        return self.models[0] if self.models else None

    @property
    def summary(self) -> str:
        """Describe the best model, its error in both modes and its lead in a few sentences."""
        if not self.models:
            return f"No model was evaluated on {self.test_month}, only baselines."
        best, *others = self.models
        error = (
            f"{best.model} is the best of {len(self.models)} models on {self.test_month}: its "
            f"error on {best.test.rows:,} trips is {best.test.rmse:.2f} {TARGET.unit} (RMSE)"
        )
        close = (
            f"{best.test.share_within_5_minutes:.0%} of them are off by "
            f"{TARGET.close:g} {TARGET.unit} or less"
        )
        share = comparable_share(self.rows)
        rmse = best.request_rmse(share)
        compared = [(row, f"{row.model}, the next,") for row in others[:1]]
        compared += [(row, f"{row.model}, the best baseline") for row in self.baselines[:1]]
        lead = " and ".join(
            describe_lead(rmse, row.request_rmse(share), named) for row, named in compared
        )
        if best.usual_rmse is None:
            sentences = [f"{error}, and {close}.", *([f"That is {lead}."] if lead else [])]
        else:
            sentences = [
                f"{error} with the metered distance and {best.usual_rmse:.2f} without a distance.",
                f"With the metered distance, {close}.",
            ]
            mixed = f"If {share:.0%} of requests state their distance, its error is {rmse:.2f}"
            sentences += [f"{mixed} {TARGET.unit}, {lead}."] if lead else []
        sentences += _coverage(best)
        if self.caveat:
            sentences.append(f"{as_sentence(self.caveat)}.")
        if self.synthetic:
            sentences.append("The trips are the synthetic sample.")
        sentences.append("champion_model shows whether it was promoted.")
        return " ".join(sentences)


def _coverage(best: ModelRecord) -> list[str]:
    """Describe the coverage of the intervals in both modes; nothing without intervals."""
    stated, usual = best.interval, best.usual_interval
    if stated is None:
        return []
    sentence = f"Its {stated.nominal:.0%} intervals cover {stated.coverage:.1%} of the trips"
    if usual is None:
        return [f"{sentence} with the metered distance."]
    return [f"{sentence} with the metered distance and {usual.coverage:.1%} without a distance."]


def describe_lead(rmse: float, other: float, named: str) -> str:
    """Format the difference of two errors: ``0.21 minutes (5 %) less than …``."""
    share = f" ({abs(other - rmse) / other:.1%})" if other > 0 else ""
    change = "less" if rmse <= other else "more"
    return f"{abs(other - rmse):.2f} {TARGET.unit}{share} {change} than {named}"


def as_sentence(text: str) -> str:
    """Return the text with a capital letter and without a full stop."""
    return text[:1].upper() + text[1:].rstrip(".")

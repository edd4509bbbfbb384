"""What the project predicts: one definition, which everything else reads.

To predict something else, write another :class:`Target` and assign it to ``TARGET``: the page
``docs/target.md`` shows how, with the fare. Imports no library, since the service reads it, too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ml_assets.trips.request_columns import REQUEST_COLUMNS

if TYPE_CHECKING:
    import polars as pl

MICROSECONDS_PER_MINUTE: Final = 60_000_000


@dataclass(frozen=True)
class Target:
    """What is predicted for a trip, from what is known when it is requested.

    Attributes:
        name: Column of ``trip_features``.
        title: What it is, for titles and descriptions, such as ``trip duration``.
        description: One sentence on how it is computed.
        unit: The unit, as in the fields ``predicted_{unit}`` of an answer.
        symbol: The unit's symbol, for charts and sentences.
        lower: Smallest value of a kept trip, above 0: encodings use logarithms.
        upper: Largest value of a kept trip; predictions are clipped to both bounds.
        close: An error up to this is that of a close prediction.
        too_low: Name and meaning of the reason for which a smaller value is rejected.
        too_high: The same of a larger value.
        compute: Makes the expression of its value, in the unit, from ``polars.col`` and the columns
            of ``computed_from``.
        computed_from: Columns of a published row with the project's names; those that nothing else
            reads are numbers with the published name. None of them may be known to a request,
            except those of ``REQUEST_COLUMNS``.

    Raises:
        ValueError: ``lower`` is not above 0, or not below ``upper``.
    """

    name: str
    title: str
    description: str
    unit: str
    symbol: str
    lower: float
    upper: float
    close: float
    too_low: tuple[str, str]
    too_high: tuple[str, str]
    compute: "Callable[[Callable[[str], pl.Expr]], pl.Expr]"
    computed_from: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 0 < self.lower < self.upper:
            raise ValueError(
                f"the target {self.name} has the bounds {self.lower} and {self.upper}: the lower "
                "one must be above 0 and below the upper one"
            )

    @property
    def prediction_fields(self) -> tuple[str, str, str]:
        """Fields of a prediction and of the bounds of its interval: ``predicted_minutes``, ..."""
        return (f"predicted_{self.unit}", f"lower_{self.unit}", f"upper_{self.unit}")

    @property
    def baseline_field(self) -> str:
        """Field of an explanation: the mean prediction for the background sample."""
        return f"baseline_{self.unit}"

    @property
    def model_name(self) -> str:
        """Name of the registered model and of the experiment: ``taxi-trip-duration``."""
        return f"taxi-{self.title.replace(' ', '-')}"

    @property
    def bounds(self) -> str:
        """The bounds for messages, such as ``1 to 60 minutes``."""
        return f"{self.lower:g} to {self.upper:g} {self.unit}"


def _minutes(col: "Callable[[str], pl.Expr]") -> Any:
    # Whole microseconds divided once: the bounds of 1 and 60 minutes are exact.
    duration = col("dropoff_datetime").to_physical() - col("pickup_datetime").to_physical()
    return duration / MICROSECONDS_PER_MINUTE


DURATION = Target(
    name="duration_minutes",
    title="trip duration",
    description="Drop-off minus pick-up, in minutes.",
    unit="minutes",
    symbol="min",
    lower=1,  # the course's rule: 1 <= duration <= 60, both included
    upper=60,
    close=5.0,
    too_low=("under_one_minute", "the trip took less than 1 minute"),
    too_high=("over_one_hour", "the trip took more than 60 minutes"),
    compute=_minutes,
    computed_from=("pickup_datetime", "dropoff_datetime"),
)

TARGET: Final = DURATION
"""The project's target."""

FEATURE_COLUMNS: Final = ("trip_id", *REQUEST_COLUMNS, TARGET.name)
"""Columns of ``trip_features``: what is known when a ride is requested, plus the target."""

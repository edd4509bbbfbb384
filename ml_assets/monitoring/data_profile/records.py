"""Stored record of a month's data profile.

Every share is of the published rows, and every split of them is complete: the values of a column,
a histogram, the days and the hours each add up to the rows of the month.
"""

from typing import Literal

from pydantic import BaseModel, Field

from ml_assets.storage.former_names import StoredRecord

Kind = Literal["number", "time", "text", "boolean", "null"]
"""What a column holds; ``null`` is a column that was published without a type and values."""

Value = bool | int | float | str


class FrequentValue(BaseModel):
    """A value of a column, the rows with it, and their share of all rows (0 to 1)."""

    value: Value
    count: int
    share: float


class NumberFigures(BaseModel):
    """Figures of the finite numbers of a column.

    Attributes:
        quantiles: Value by probability, such as ``0.95``; between two values, interpolated.
    """

    minimum: float
    maximum: float
    mean: float
    median: float
    quantiles: dict[str, float]


class TimeFigures(BaseModel):
    """Figures of the times of a column, in ISO 8601, as published: New York's in trip files.

    Attributes:
        quantiles: Time by probability, such as ``0.95``: the nearest that occurs.
    """

    earliest: str
    latest: str
    median: str
    quantiles: dict[str, str]


class LengthFigures(BaseModel):
    """Characters of the texts of a column."""

    shortest: int
    longest: int
    mean: float


class ColumnProfile(BaseModel):
    """Profile of one published column.

    Attributes:
        name: Its published name, shortened and without control characters.
        published_type: Its type in the file, such as ``int64``.
        missing: Rows without a value.
        not_finite: Rows with infinity or not-a-number, which nothing below includes.
        unique: Different values.
        frequent: The most frequent values, at most ``FREQUENT``; ties in order of the values.
            Whole numbers are integers, whatever the published type, and long texts are shortened.
        numbers: Figures of numbers; None without any.
        times: Figures of times; None without any.
        lengths: Figures of texts; None without any.
    """

    name: str
    published_type: str
    kind: Kind
    rows: int
    missing: int
    not_finite: int = 0
    unique: int = 0
    frequent: list[FrequentValue] = Field(default_factory=list)
    numbers: NumberFigures | None = None
    times: TimeFigures | None = None
    lengths: LengthFigures | None = None

    @property
    def all_missing(self) -> bool:
        """Whether there are rows, and none has a value."""
        return self.rows > 0 and self.missing == self.rows

    @property
    def constant(self) -> bool:
        """Whether every row has the same value."""
        return self.unique == 1 and not self.missing and not self.not_finite

    @property
    def other(self) -> int:
        """Rows with a value that is not among the most frequent ones."""
        counted = sum(value.count for value in self.frequent)
        return self.rows - self.missing - self.not_finite - counted

    @property
    def missing_share(self) -> float:
        """Rows without a value as a share of all rows; 0 without rows."""
        return self.missing / self.rows if self.rows else 0.0


class Histogram(BaseModel):
    """Rows by fixed bins, the same for every month.

    Attributes:
        unit: Unit of the edges.
        edges: Edges of the bins; the lower one belongs to its bin, the upper one to the next.
        counts: Rows by bin, one less than the edges.
        below: Rows below the first edge.
        overflow: Rows at or above the last edge.
        missing: Rows without a value, or with one that is not a number.
    """

    unit: str
    edges: list[float]
    counts: list[int]
    below: int
    overflow: int
    missing: int

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(self.counts) + self.below + self.overflow + self.missing


class DataProfile(StoredRecord):
    """Profile of one published month.

    Attributes:
        raw_sha256: SHA-256 of the published file.
        code: Digest of the code that measured.
        measured_at: Time of the measurement, ISO 8601 with offset.
        rows: Published rows.
        columns: Profiles of the columns, in the order of the file.
        unread_columns: Columns that could not be profiled, with the reason.
        distance: Rows by metered distance.
        duration: Rows by the time from pick-up to drop-off.
        day_trips: Rows by the day of the month of the pick-up, the first of the month first.
        hour_of_week_trips: The same rows by hour of the week of the pick-up: 168 counts from
            Monday 0:00.
        outside_month: Rows with a pick-up in another month.
        without_pickup: Rows without a pick-up.
        kept: Rows that ``trip_features`` keeps.
        rejected: Rows of ``rejected_trips`` by reason, in the order of ``cleaning.REASONS``; 0 for
            a reason that no row has.
    """

    month: str
    dataset: str
    synthetic: bool
    raw_sha256: str
    code: str
    measured_at: str
    rows: int
    columns: list[ColumnProfile]
    unread_columns: dict[str, str] = Field(default_factory=dict)
    distance: Histogram
    duration: Histogram
    day_trips: list[int]
    hour_of_week_trips: list[int]
    outside_month: int
    without_pickup: int
    kept: int
    rejected: dict[str, int]

    def column(self, name: str) -> ColumnProfile | None:
        """Return the profile of a column, in any letter case; None without one."""
        wanted = name.lower()
        return next((each for each in self.columns if each.name.lower() == wanted), None)

"""What a training will take: rows, memory and time of each family, before anything is fitted.

Imports no estimator. The estimate is described in ``docs/scale.md``.
"""

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ml_assets.config.memory import available_memory
from ml_assets.evaluation.records import ModelRecord, TrainingSet
from ml_assets.secrets import ShownError
from ml_assets.training.families import ModelFamily, family_named
from ml_assets.training.row_sample import RowLimit

BASE_BYTES: Final = 900_000_000
"""A run of all families before a row is loaded: libraries, Dagster and MLflow."""

TEST_ROW_BYTES: Final = 250
"""Each trip of the test month: its columns, predictions in both modes, and slices."""

MONTH_ROW_BYTES: Final = 100
"""Each trip of the largest month, while it is read."""

ROW_BYTES: Final = {"trees": 900, "linear": 2_000}
"""Each row of a fit, by the kind of its family: its columns, the encoded row, and the copies that
an estimator makes. Fits of 150,000 rows took 506 bytes a row (exact boosting), 810 (XGBoost) and
1,040 to 1,340 (linear models, with some thirty doubles and their indices) above those of 6,000; the
refit has the rows of the tuned fit beside its own."""

STREAMED_ROW_BYTES: Final = 90
"""Each row that XGBoost reads in parts and keeps in memory: two bytes for each value, and its
gradient and position. Measured: 84 to 96, between 6.1 and 9.3 million trips."""

ROW_ON_DISK_BYTES: Final = 50
"""The same beyond ``MAX_ROWS_CACHED_IN_MEMORY``, without the values. Measured: 45 to 49."""

MAX_ROWS_CACHED_IN_MEMORY: Final = 12_000_000
"""Rows beyond which XGBoost keeps the quantized values on disk."""

MAX_SHARE: Final = 0.9
"""Share of the available memory that a training may take."""


MAX_RATIO: Final = 3.0
"""How many times the rows of the last training the time is estimated for."""

_ROWS_STEP: Final = 10_000
"""Rows that fit are named in steps of this."""


class DoesNotFit(ShownError, RuntimeError):
    """A training needs more memory than there is; the message says how to make it fit."""


@dataclass(frozen=True)
class FamilyPlan:
    """What the training of a family will take.

    Attributes:
        rows: Rows of its fit.
        available: Trips of the months that it is fitted on.
        in_parts: Whether the rows are read in parts and not held.
        memory: Bytes beside those of the process.
        seconds: Wall time by its last training and the rows of both; None without one, or if it had
            more than ``MAX_RATIO`` times the rows or less than that share.
    """

    family: str
    rows: int
    available: int
    in_parts: bool
    memory: int
    seconds: float | None

    @property
    def description(self) -> str:
        """One line: rows, memory, time."""
        share = "all " if self.rows >= self.available else ""
        of = "" if share else f" of {self.available:,}"
        time = "" if self.seconds is None else f", {_minutes(self.seconds)} by its last training"
        return f"{self.family}: {share}{self.rows:,}{of} trips, {_gigabytes(self.memory)}{time}"


@dataclass(frozen=True)
class TrainingPlan:
    """What a training of several families will take.

    Attributes:
        side_by_side: Whether a family that uses one core is fitted beside one that uses all.
        test_rows: Trips of the test month.
        largest_month: Trips of the largest month.
    """

    families: tuple[FamilyPlan, ...]
    side_by_side: bool
    test_rows: int
    largest_month: int

    @property
    def memory(self) -> int:
        """Peak of the process, bytes."""
        of_one = [each.memory for each in self.families if family_named(each.family).single_core]
        of_all = [
            each.memory for each in self.families if not family_named(each.family).single_core
        ]
        fits = [max(of_one, default=0), max(of_all, default=0)]
        at_once = sum(fits) if self.side_by_side else max(fits)
        tested = 2 if self.side_by_side and all(fits) else 1
        month = self.largest_month * MONTH_ROW_BYTES
        return BASE_BYTES + at_once + month + tested * self.test_rows * TEST_ROW_BYTES

    @property
    def seconds(self) -> float | None:
        """Time of all families; None unless each was trained before.

        Side by side, those that use one core run beside those that use all.
        """
        one, of_all = 0.0, 0.0
        for each in self.families:
            if each.seconds is None:
                return None
            if family_named(each.family).single_core:
                one += each.seconds
            else:
                of_all += each.seconds
        return max(one, of_all) if self.side_by_side else one + of_all

    def lines(self, available: int | None) -> list[str]:
        """Describe the plan: a line for each family, and one for all."""
        memory = "" if available is None else f" of {_gigabytes(available)} available"
        time = "" if self.seconds is None else f", {_minutes(self.seconds)} by the last training"
        total = f"training: about {_gigabytes(self.memory)} of memory{memory}{time}"
        return [*(each.description for each in self.families), total]

    def require_memory(self, available: int | None) -> None:
        """Refuse what cannot fit.

        Args:
            available: Bytes that the process may take; None when unknown, which refuses nothing.

        Raises:
            DoesNotFit: The message names the largest family, and the ways to need less that help.
        """
        if available is None or self.memory <= MAX_SHARE * available:
            return
        largest = max(self.families, key=lambda each: each.memory)
        ways = [*self._ways_to_fit(MAX_SHARE * available), "give it more memory"]
        raise DoesNotFit(
            f"the training needs about {_gigabytes(self.memory)} of memory, and may take "
            f"{MAX_SHARE:.0%} of the {_gigabytes(available)} available to this process; most of "
            f"it is for {largest.family} on {largest.rows:,} trips "
            f"({_gigabytes(largest.memory)}): {', or '.join(ways)}"
        )

    def _ways_to_fit(self, room: float) -> Iterator[str]:
        """Yield the changes after each of which the training fits, or needs less."""
        if replace(self, side_by_side=False).memory <= room:
            yield "fit one family at a time (ML_ASSETS_SIDE_BY_SIDE=off)"
        steps = range(1, max(each.rows for each in self.families) // _ROWS_STEP + 1)
        fitting = bisect.bisect_right(
            steps, room, key=lambda step: self._bounded(step * _ROWS_STEP).memory
        )
        if fitting:
            rows = fitting * _ROWS_STEP
            yield f"fit on fewer rows (--max-rows {rows}, or max_rows in the launchpad)"
        if room > BASE_BYTES and any(each.rows == each.available for each in self.families):
            yield "take fewer months (--train-months)"
        yield from self._families_to_leave_out(room)

    def _families_to_leave_out(self, room: float) -> Iterator[str]:
        """Yield each family without which the others fit, or else the families that do fit."""
        helped = False
        for left_out in self.families if len(self.families) > 1 else ():
            others = tuple(each for each in self.families if each is not left_out)
            if replace(self, families=others).memory <= room:
                helped = True
                yield f"leave out {left_out.family} (--models)"
        smallest_first = sorted(self.families, key=lambda each: each.memory)
        fitting: tuple[FamilyPlan, ...] = ()
        while not helped and len(fitting) < len(smallest_first):
            more = smallest_first[: len(fitting) + 1]
            if replace(self, families=tuple(more)).memory > room:
                break
            fitting = tuple(more)
        if fitting:
            names = [each.family for each in self.families if each in fitting]
            yield f"train {' and '.join(names)} only (--models {','.join(names)})"

    def _bounded(self, rows: int) -> "TrainingPlan":
        """Return the plan with a stated bound, whose rows are in memory."""
        families = (
            replace(
                each,
                rows=min(rows, each.rows),
                memory=min(rows, each.rows) * ROW_BYTES[_kind(family_named(each.family))],
            )
            for each in self.families
        )
        return replace(self, families=tuple(families))


def plan_training(
    families: Sequence[str],
    rows: Mapping[str, Sequence[int]],
    limit: RowLimit = "default",
    last: Mapping[str, ModelRecord] | None = None,
    *,
    side_by_side: bool = True,
) -> TrainingPlan:
    """Plan the training of these families.

    Args:
        rows: Trips of each month by role: ``train``, ``validation``, ``test``.
        limit: The stated bound of the rows of a fit.
        last: The last record of each family that has one.
    """
    available = sum(rows["train"]) + sum(rows["validation"])
    plans = [
        _plan(family_named(name), available, limit, (last or {}).get(name)) for name in families
    ]
    months = [count for counts in rows.values() for count in counts]
    return TrainingPlan(tuple(plans), side_by_side, sum(rows["test"]), max(months, default=0))


def plan_of(
    families: Sequence[str],
    training_set: TrainingSet,
    limit: RowLimit = "default",
    last: Mapping[str, ModelRecord] | None = None,
    *,
    side_by_side: bool = True,
) -> TrainingPlan:
    """Plan the training of these families on a training set."""
    shared = training_set.validation_is_test
    rows = {
        role: [use.rows for use in training_set.months if use.role == role]
        for role in ("train", "validation", "test")
    }
    if shared:  # the month counts once, and is not fitted on
        rows["validation"] = []
    return plan_training(families, rows, limit, last, side_by_side=side_by_side)


def require_memory(family: str, training_set: TrainingSet, limit: RowLimit) -> None:
    """Refuse to train one family on a training set that does not fit the available memory.

    Raises:
        DoesNotFit: See :meth:`TrainingPlan.require_memory`.
    """
    plan = plan_of([family], training_set, limit, side_by_side=False)
    plan.require_memory(available_memory())


def _plan(
    family: ModelFamily, available: int, limit: RowLimit, last: ModelRecord | None
) -> FamilyPlan:
    bound = family.bound(limit)
    rows = available if bound is None else min(bound, available)
    sample = rows
    if bound is None and family.fit_batches is not None and family.max_rows is not None:
        sample = min(rows, family.max_rows)
    of_streamed = ROW_ON_DISK_BYTES if rows > MAX_ROWS_CACHED_IN_MEMORY else STREAMED_ROW_BYTES
    memory = sample * ROW_BYTES[_kind(family)] + (rows - sample) * of_streamed
    return FamilyPlan(family.name, rows, available, sample < rows, memory, _seconds(last, rows))


def _kind(family: ModelFamily) -> str:
    return "linear" if "linear" in family.kinds else "trees"


def _seconds(last: ModelRecord | None, rows: int) -> float | None:
    """Estimate the time of a training from the last one; None if its rows were too different.

    The fit takes time by its rows; tuning and measuring do not, since these rows are bounded.
    """
    if last is None or last.rows is None or last.seconds <= 0:
        return None
    ratio = rows / max(1, last.rows.fitted)
    if not 1 / MAX_RATIO <= ratio <= MAX_RATIO:
        return None
    return last.seconds + (ratio - 1) * min(last.fit_seconds, last.seconds)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 50_000_000 else "less than 0.1 GB"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"

"""Choice of the months to train, validate and test on: the newest is the test month."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml_assets.secrets import ShownError
from ml_assets.trips.month import Month, months_between

MAX_TRAIN_MONTHS = 12
"""Default maximum number of training months: every season once."""

TWO_MONTHS_CAVEAT = (
    "Only two months were available, so the newest is both validation and test month: its "
    "figures are optimistic, and errors on an unseen month will be higher."
)


class WindowError(ShownError, ValueError):
    """The available months do not allow the requested window."""


@dataclass(frozen=True)
class TrainingWindow:
    """The months of one training, each tuple in order.

    Attributes:
        train: Months that models are fitted on.
        validation: Month that scores trials and stops boosting early.
        test: Month of the reported metrics; the same as ``validation`` only with two months, see
            ``caveat``.
        caveat: Note to show with every figure of this window, or None.
        gaps: Missing months between the first of ``train`` and ``test``.
    """

    train: tuple[Month, ...]
    validation: tuple[Month, ...]
    test: tuple[Month, ...]
    caveat: str | None = None
    gaps: tuple[Month, ...] = ()

    def describe(self) -> str:
        """Return one line with the months of each role and the gaps."""
        line = (
            f"train {span(self.train)} ({len(self.train)}) · validation {span(self.validation)} "
            f"· test {span(self.test)}"
        )
        return f"{line} · missing in between: {span(self.gaps)}" if self.gaps else line


def choose_window(
    available: Sequence[Month], train_months: int | None = None, test: Month | None = None
) -> TrainingWindow:
    """Assign the roles: test on the newest month, validate on the one before, train on the others.

    With only two months, the newest is both validation and test month, and ``caveat`` says so.

    Args:
        available: Months with features, in any order; duplicates count once.
        train_months: Number of training months, the newest before the validation month; by default
            all, up to ``MAX_TRAIN_MONTHS``.
        test: The test month; later months are ignored. By default the newest.

    Returns:
        The window. A gap in the history does not shorten it: it reaches further back, and ``gaps``
        has the missing months.

    Raises:
        WindowError: ``train_months`` is below 1, ``test`` is not available, or there are too few
            months; names the missing ones and the command to ingest them.
    """
    if train_months is not None and train_months < 1:
        raise WindowError(f"train_months is {train_months}: must be at least 1")
    known = sorted(set(available))
    if test is not None and test not in known:
        raise WindowError(
            f"the test month {test} is not among the available months ({span(known)}); "
            + _remedy(test.shift(-(train_months or 1) - 1), test, train_months)
        )
    history = [month for month in known if test is None or month <= test]
    _require_enough(history, train_months, test)

    has_validation = len(history) > 2
    before = history[:-2] if has_validation else history[:-1]
    train = tuple(before[-(train_months or MAX_TRAIN_MONTHS) :])
    return TrainingWindow(
        train=train,
        validation=(history[-2],) if has_validation else (history[-1],),
        test=(history[-1],),
        caveat=None if has_validation else TWO_MONTHS_CAVEAT,
        gaps=_missing(train[0], history[-1], history),
    )


def span(months: Sequence[Month]) -> str:
    """Format months as ranges: ``2023-01 to 2023-03, 2023-05``."""
    ordered = sorted(set(months))
    runs: list[list[Month]] = []
    for month in ordered:
        if runs and runs[-1][-1].shift(1) == month:
            runs[-1].append(month)
        else:
            runs.append([month])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return ", ".join(texts) or "none"


def _require_enough(history: list[Month], train_months: int | None, test: Month | None) -> None:
    """Raise unless the history has the requested number of months, by default two."""
    if not history:
        raise WindowError(
            "there are no months of trips, and training needs two (three for separate validation "
            "and test months): ingest some, for example with `ml-assets run --first 2023-01 --last "
            "2023-03`, or materialize raw_trips and trip_features for them in the UI"
        )
    if train_months is None and len(history) == 1:
        raise _single_month(history[0], test)
    if train_months is None:
        return
    two_months_do = train_months == 1 and len(history) == 2
    if len(history) < train_months + 2 and not two_months_do:
        newest = history[-1]
        oldest = newest.shift(-train_months - 1)
        missing = _missing(oldest, newest, history)
        raise WindowError(
            f"{train_months} training month(s), a validation month and a test month make "
            f"{train_months + 2}, but up to {newest} only {len(history)} are available "
            f"({span(history)}); missing: {span(missing)}. Choose fewer months, or "
            + _remedy(oldest, newest, train_months)
        )


def _single_month(only: Month, test: Month | None) -> WindowError:
    """Name the missing months: earlier ones, or later ones if the only month may train."""
    if test is None:
        missing, first, last = f"{only.shift(-1)} or {only.shift(1)}", only, only.shift(2)
    else:
        missing, first, last = f"{only.shift(-1)}", only.shift(-2), only
    return WindowError(
        f"of the months up to {only} only {only} is available, and one month cannot be both "
        "training and test month (two are enough, three allow a separate validation month); "
        f"missing: {missing}. To ingest them, " + _remedy(first, last, None)
    )


def _missing(first: Month, last: Month, present: Sequence[Month]) -> tuple[Month, ...]:
    known = set(present)
    return tuple(month for month in months_between(first, last) if month not in known)


def _remedy(first: Month, last: Month, train_months: int | None) -> str:
    """Describe how to ingest the months from ``first`` to ``last``."""
    option = "" if train_months is None else f" --train-months {train_months}"
    return (
        f"run `ml-assets run --first {first} --last {last}{option}`, or materialize raw_trips and "
        f"trip_features for {span(list(months_between(first, last)))} in the UI"
    )

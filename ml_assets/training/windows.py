"""Which months train, which tune and which judge: the newest judges what the older ones taught."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml_assets.secrets import ShownError
from ml_assets.trips.month import Month, months_between

MAX_TRAIN_MONTHS = 12
"""So many months train when nobody says otherwise: every season once."""

TWO_MONTHS_CAVEAT = (
    "Only two months were there: the newest both tuned and judged, "
    "so every figure on it flatters the models: expect a month that nobody tuned on to be worse."
)


class WindowError(ShownError, ValueError):
    """The months at hand do not make the window that was asked for."""


@dataclass(frozen=True)
class TrainingWindow:
    """The months of one training, each tuple ordered in time.

    Attributes:
        train: the months that models are fitted on.
        tune: the month that scores trials and stops boosting early.
        judge: the month that the published figures come from; the same as ``tune`` only when
            no third month was there, which ``caveat`` then says.
        caveat: what every figure of this window must be shown with, or None.
        gaps: months between the first of ``train`` and ``judge`` that were not available.
    """

    train: tuple[Month, ...]
    tune: tuple[Month, ...]
    judge: tuple[Month, ...]
    caveat: str | None = None
    gaps: tuple[Month, ...] = ()

    def describe(self) -> str:
        """One line for people: the months of each role, and the gaps if there are any."""
        line = (
            f"train {span(self.train)} ({len(self.train)}) · tune {span(self.tune)} "
            f"· judge {span(self.judge)}"
        )
        return f"{line} · missing in between: {span(self.gaps)}" if self.gaps else line


def choose_window(
    available: Sequence[Month],
    train_months: int | None = None,
    judge: Month | None = None,
) -> TrainingWindow:
    """Give every month its role: the newest judges, the one before tunes, those before train.

    With two months only, the newest both tunes and judges, and ``caveat`` says so.

    Args:
        available: months whose features are there, in any order; duplicates count once.
        train_months: so many months train, the newest that lie before the tuning month; by
            default as many as there are, up to ``MAX_TRAIN_MONTHS``.
        judge: this month judges and later ones are left out; by default the newest.

    Returns:
        The window. A gap in the history does not shorten it: it reaches further back, and
        ``gaps`` names the months that were passed over.

    Raises:
        WindowError: when ``train_months`` is below 1, when ``judge`` is not available, or when
            there are too few months; it names the missing ones and the command that brings them.
    """
    if train_months is not None and train_months < 1:
        raise WindowError(f"train_months is {train_months}: at least 1 month has to train")
    known = sorted(set(available))
    if judge is not None and judge not in known:
        raise WindowError(
            f"the judging month {judge} is not among the months at hand ({span(known)}); "
            + _way_out(judge.shift(-(train_months or 1) - 1), judge, train_months)
        )
    history = [month for month in known if judge is None or month <= judge]
    _require_enough(history, train_months, judge)

    tuned_apart = len(history) > 2
    before = history[:-2] if tuned_apart else history[:-1]
    train = tuple(before[-(train_months or MAX_TRAIN_MONTHS) :])
    return TrainingWindow(
        train=train,
        tune=(history[-2],) if tuned_apart else (history[-1],),
        judge=(history[-1],),
        caveat=None if tuned_apart else TWO_MONTHS_CAVEAT,
        gaps=_missing(train[0], history[-1], history),
    )


def span(months: Sequence[Month]) -> str:
    """Months as people write them: ``2023-01 to 2023-03``, or a list where they do not touch."""
    ordered = sorted(set(months))
    runs: list[list[Month]] = []
    for month in ordered:
        if runs and runs[-1][-1].shift(1) == month:
            runs[-1].append(month)
        else:
            runs.append([month])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return ", ".join(texts) or "none"


def _require_enough(history: list[Month], train_months: int | None, judge: Month | None) -> None:
    """Raise unless the history holds the months asked for, or two when nothing was asked."""
    if not history:
        raise WindowError(
            "no month of trips is there, and training needs two (three keep tuning and judging "
            "apart): ingest some, for example with `ml-assets run --first 2023-01 --last 2023-03`, "
            "or materialize raw_trips and trip_features for them in the UI"
        )
    if train_months is None:
        if len(history) == 1:
            _refuse_single_month(history[0], judge)
        return
    two_months_do = train_months == 1 and len(history) == 2
    if len(history) < train_months + 2 and not two_months_do:
        newest = history[-1]
        oldest_wanted = newest.shift(-train_months - 1)
        missing = _missing(oldest_wanted, newest, history)
        raise WindowError(
            f"{train_months} month(s) to train, one to tune and one to judge make "
            f"{train_months + 2}, but up to {newest} only {len(history)} are there "
            f"({span(history)}); missing: {span(missing)}. Ask for fewer months, or "
            + _way_out(oldest_wanted, newest, train_months)
        )


def _refuse_single_month(only: Month, judge: Month | None) -> None:
    """Say which months would go with the only one: earlier ones, or later ones if it may train."""
    if judge is None:
        missing, first, last = f"{only.shift(-1)} or {only.shift(1)}", only, only.shift(2)
    else:
        missing, first, last = f"{only.shift(-1)}", only.shift(-2), only
    raise WindowError(
        f"of the months up to {only} only {only} itself is there, and it cannot both train and "
        "judge (two months can, three keep tuning and judging apart); "
        f"missing: {missing}. To bring them, " + _way_out(first, last, None)
    )


def _missing(first: Month, last: Month, present: Sequence[Month]) -> tuple[Month, ...]:
    there = set(present)
    return tuple(month for month in months_between(first, last) if month not in there)


def _way_out(first: Month, last: Month, train_months: int | None) -> str:
    """The command and the button that bring the months from ``first`` to ``last``."""
    option = "" if train_months is None else f" --train-months {train_months}"
    return (
        f"run `ml-assets run --first {first} --last {last}{option}`, or materialize raw_trips and "
        f"trip_features for {span(list(months_between(first, last)))} in the UI"
    )

"""RMSE on an unseen month, against the course's XGBoost protocol on the same trips."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.course_protocol import CourseResult, train_course_xgboost
from benchmarks.figures import Figure, Section
from benchmarks.options import Options
from benchmarks.published_months import PublishedMonths
from ml_assets.defs.training.models import ModelConfig
from ml_assets.training.families import FAMILIES
from ml_assets.training.fit import FittedModel, refit
from ml_assets.training.tune import TuningBudget, tune_and_fit
from ml_assets.trips.month import Month, months_between
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

if TYPE_CHECKING:
    from ml_assets.training.families import ModelFamily

FIRST = Month(2023, 1)
PAIRS = (Month(2023, 2), Month(2023, 5), Month(2023, 7), Month(2023, 9))
"""Test months of (a); the month before each one trains. Constants of the models were looked at on
2023-04 and 2023-06 (``pipeline/trip_tables.py``) and on 2023-08 (``training/families/default.py``),
so none of these may be a test month."""
HISTORIES = (Month(2023, 7), Month(2023, 9))
"""Test months of (c), of those above; all months before each one train."""
ONE_MONTH_TARGET = 0.83
TWO_MONTHS_TARGET = 0.735
"""Of (b): the test months of (a) with two months before them, which train."""
ALL_MONTHS_TARGET = 0.76
OURS = "xgboost"
NO_TUNING = TuningBudget(trials=0)
AS_THE_GRAPH = TuningBudget(trials=ModelConfig().trials)
NOTES = [
    f"Ours is the {OURS} family. With one month before, its defaults, no trials. With more months "
    f"before, as the graph does: {AS_THE_GRAPH.trials} trials on the month before the test month, "
    "then fitted on that and the earlier ones. The test month is never seen.",
    f"Test months ({', '.join(str(month) for month in PAIRS)}) are none on which a constant of "
    "the models was chosen or looked at (2023-04, 2023-06, 2023-08).",
    "The peer is trained on the one month before, as the course does; it stops early on the test "
    "month and takes the best of three trials, and the best round, by the test month's RMSE: its "
    "figure is flattered, which favours it.",
    "Ours and the peer of one month learn from and are tested on the same rows (kept trips).",
    "The target of the six other families is the mean baseline: below 1.",
]


def measure(options: Options) -> Section:
    """One month before, two months before, all months before, and the other families."""
    trips = PublishedMonths.open(options.scratch)
    peers: dict[Month, CourseResult] = {}
    figures = []
    for month in PAIRS:
        options.say(f"test {month}: the course's search and ours on {month.shift(-1)}")
        figures.append(_one_month(trips, month, peers))
    for month in PAIRS:
        if month.shift(-2) >= FIRST:
            options.say(f"test {month}: ours tuned and trained on the two months before")
            peer = peers[month]
            figures.append(_tuned(trips, month.shift(-2), month, peer, TWO_MONTHS_TARGET))
    for month in HISTORIES:
        options.say(f"test {month}: ours tuned and trained on all months before")
        figures.append(_tuned(trips, FIRST, month, peers[month], ALL_MONTHS_TARGET))
    if options.thorough:
        month = HISTORIES[-1]
        options.say(f"test {month}: the course's search on all months before (minutes)")
        figures.append(_course_on_all_months(trips, month, figures[-1]))
    options.say("the six other families")
    figures += _families(trips, PAIRS[0])
    return Section(figures, trips.describe(), NOTES)


def _one_month(trips: PublishedMonths, month: Month, peers: dict[Month, CourseResult]) -> Figure:
    train, test = trips.kept(month.shift(-1)), trips.kept(month)
    peer = peers[month] = train_course_xgboost(train, test)
    # Without trials the validation month decides nothing; the training month stands in for it.
    fitted = tune_and_fit(FAMILIES[OURS], train, train, budget=NO_TUNING)
    return _against_the_course(
        f"{OURS}, train {month.shift(-1)}, test {month}",
        "course's XGBoost, same month",
        _rmse(fitted, test),
        peer,
        ONE_MONTH_TARGET,
        {"fit_seconds": round(fitted.fit_seconds, 2)},
    )


def _tuned(
    trips: PublishedMonths, first: Month, month: Month, one_month: CourseResult, target: float
) -> Figure:
    """Tune, train and refit as the graph does, against the course on the month before.

    Args:
        first: First of the months before ``month``, which all train.
    """
    before = list(months_between(first, month.shift(-1)))
    train, tune, test = trips.kept(*before[:-1]), trips.kept(before[-1]), trips.kept(month)
    tuned = tune_and_fit(FAMILIES[OURS], train, tune, budget=AS_THE_GRAPH)
    fitted = refit(tuned, pd.concat([train, tune], ignore_index=True))
    return _against_the_course(
        f"{OURS}, tuned, train {before[0]} to {before[-1]}, test {month}",
        f"course's XGBoost, {before[-1]} only",
        _rmse(fitted, test),
        one_month,
        target,
        {
            "fit_seconds": round(fitted.fit_seconds, 2),
            "tuning_seconds": round(sum(trial.seconds for trial in tuned.trials), 2),
            "parameters": fitted.parameters,
            "trials_tune_rmse": [trial.validation_rmse for trial in tuned.trials],
        },
    )


def _course_on_all_months(trips: PublishedMonths, month: Month, ours: Figure) -> Figure:
    """What the course's protocol would gain from a history; its deep trees take minutes."""
    before = months_between(FIRST, month.shift(-1))
    peer = train_course_xgboost(trips.kept(*before), trips.kept(month))
    rmse = float(ours.detail["rmse_minutes"])
    return _against_the_course(ours.name, "course's XGBoost, same months", rmse, peer, None, {})


def _against_the_course(
    name: str,
    peer: str,
    rmse: float,
    course: CourseResult,
    target: float | None,
    detail: dict[str, Any],
) -> Figure:
    return Figure(
        name,
        peer,
        rmse / course.rmse,
        target,
        detail={
            "rmse_minutes": round(rmse, 4),
            "peer_rmse_minutes": round(course.rmse, 4),
            "peer_trials_rmse": [round(value, 4) for value in course.trials],
            "peer_parameters": course.parameters,
            "peer_rounds": course.rounds,
            "peer_seconds": round(course.seconds, 2),
            **detail,
        },
    )


def _families(trips: PublishedMonths, month: Month) -> list[Figure]:
    """Every other family with its defaults against always saying the training mean."""
    train, test = trips.kept(month.shift(-1)), trips.kept(month)
    mean = float(train[TARGET.name].mean())
    mean_rmse = float(np.sqrt(np.mean((test[TARGET.name].to_numpy() - mean) ** 2)))
    figures = []
    for family in _others():
        fitted = tune_and_fit(family, train, train, budget=NO_TUNING)
        rmse = _rmse(fitted, test)
        detail = {"rmse_minutes": round(rmse, 4), "peer_rmse_minutes": round(mean_rmse, 4)}
        name = f"{family.name}, train {month.shift(-1)}, test {month}"
        figures.append(Figure(name, "training mean", rmse / mean_rmse, 1.0, detail=detail))
    return figures


def _others() -> "list[ModelFamily]":
    return [family for name, family in FAMILIES.items() if name != OURS]


def _rmse(fitted: FittedModel, test: pd.DataFrame) -> float:
    predicted = fitted.pipeline.predict(test[list(REQUEST_COLUMNS)])
    return float(np.sqrt(np.mean((test[TARGET.name].to_numpy() - predicted) ** 2)))

"""RMSE on a month that nobody tuned on, against the course's XGBoost protocol on the same trips."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.course_protocol import CourseResult, train_course_xgboost
from benchmarks.figures import Figure, Section
from benchmarks.published_months import PublishedMonths
from ml_assets.modeling.families import FAMILIES
from ml_assets.modeling.tuning import FittedModel, TuningBudget, refit, tune_and_fit
from ml_assets.trips.month import Month, months_between
from ml_assets.trips.rules import REQUEST_COLUMNS, TARGET

if TYPE_CHECKING:
    from ml_assets.modeling.families import ModelFamily

FIRST = Month(2023, 1)
PAIRS = (Month(2023, 2), Month(2023, 6), Month(2023, 9))
"""Judged months of (a); the month before each one trains."""
HISTORIES = (Month(2023, 6), Month(2023, 9))
"""Judged months of (b); all months before each one train."""
ONE_MONTH_TARGET = 0.83
ALL_MONTHS_TARGET = 0.76
NO_TUNING = TuningBudget(trials=0)
NOTES = [
    "Ours: the xgboost family with its defaults, no trials; it never sees the judged month.",
    "The course's protocol stops early on the judged month and takes the best of three trials, "
    "and the best round, by the judged month's RMSE: its figure is flattered, which favours it.",
    "Both learn from and are judged on the same rows (kept trips).",
    "The target of the six other families is the mean baseline: below 1.",
]


def measure(scratch: Path) -> Section:
    """One month before, all months before, and the other families."""
    trips = PublishedMonths.open(scratch)
    peers: dict[Month, CourseResult] = {}
    figures = [_one_month(trips, month, peers) for month in PAIRS]
    for month in HISTORIES:
        figures += _all_months(trips, month, peers[month])
    figures += _families(trips, PAIRS[0])
    return Section(figures, trips.describe(), NOTES)


def _one_month(trips: PublishedMonths, month: Month, peers: dict[Month, CourseResult]) -> Figure:
    train, judge = trips.kept(month.shift(-1)), trips.kept(month)
    peer = peers[month] = train_course_xgboost(train, judge)
    # Without trials the tuning month decides nothing; the training month stands in for it.
    fitted = tune_and_fit(FAMILIES["xgboost"], train, train, budget=NO_TUNING)
    return _against_the_course(
        f"train {month.shift(-1)}, judge {month}",
        "course's XGBoost, same month",
        _rmse(fitted, judge),
        peer,
        ONE_MONTH_TARGET,
        fitted.fit_seconds,
    )


def _all_months(trips: PublishedMonths, month: Month, one_month: CourseResult) -> list[Figure]:
    """Train, tune and refit as the graph does, against the course on one month and on all."""
    before = list(months_between(FIRST, month.shift(-1)))
    train, tune, judge = trips.kept(*before[:-1]), trips.kept(before[-1]), trips.kept(month)
    together = pd.concat([train, tune], ignore_index=True)
    fitted = refit(tune_and_fit(FAMILIES["xgboost"], train, tune, budget=NO_TUNING), together)
    rmse = _rmse(fitted, judge)
    name = f"train {before[0]} to {before[-1]}, judge {month}"
    all_months = train_course_xgboost(together, judge)
    return [
        _against_the_course(name, peer, rmse, result, ALL_MONTHS_TARGET, fitted.fit_seconds)
        for peer, result in (
            (f"course's XGBoost, {before[-1]} only", one_month),
            ("course's XGBoost, same months", all_months),
        )
    ]


def _against_the_course(
    name: str, peer: str, rmse: float, course: CourseResult, target: float, fit_seconds: float
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
            "fit_seconds": round(fit_seconds, 2),
            "peer_seconds": round(course.seconds, 2),
        },
    )


def _families(trips: PublishedMonths, month: Month) -> list[Figure]:
    """Every other family with its defaults against always saying the training mean."""
    train, judge = trips.kept(month.shift(-1)), trips.kept(month)
    mean = float(train[TARGET].mean())
    mean_rmse = float(np.sqrt(np.mean((judge[TARGET].to_numpy() - mean) ** 2)))
    figures = []
    for family in _others():
        fitted = tune_and_fit(family, train, train, budget=NO_TUNING)
        rmse = _rmse(fitted, judge)
        detail = {"rmse_minutes": round(rmse, 4), "peer_rmse_minutes": round(mean_rmse, 4)}
        name = f"{family.name}, train {month.shift(-1)}, judge {month}"
        figures.append(Figure(name, "training mean", rmse / mean_rmse, 1.0, detail=detail))
    return figures


def _others() -> "list[ModelFamily]":
    return [family for name, family in FAMILIES.items() if name != "xgboost"]


def _rmse(fitted: FittedModel, judge: pd.DataFrame) -> float:
    predicted = fitted.pipeline.predict(judge[list(REQUEST_COLUMNS)])
    return float(np.sqrt(np.mean((judge[TARGET].to_numpy() - predicted) ** 2)))

"""``python -m ml_assets_tests.graph.leaking_family HOME TRIPS FOLDER``: a family that reads stored months.

During its fit it opens stored months, the test month among them, and memorizes their durations;
neither its record nor its configuration shows it. It runs in a process of its own, since the
families are read when the graph is assembled.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.linear_model import LinearRegression

from ml_assets.evaluation.records import Leaderboard
from ml_assets.pipeline.features import RequestFeatures
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.families import FAMILIES, ModelFamily
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET
from ml_assets_tests.published_months import publish

MONTHS = [Month(2023, number) for number in range(1, 5)]
TEST_MONTH = MONTHS[-1]
READS: dict[str, list[Month]] = {
    "nothing": [],
    "the test month": [TEST_MONTH],
    "every month": MONTHS,
}
"""Months read during the fit besides the training trips; the first entry does not leak."""


MILES = RequestFeatures().get_feature_names_out().tolist().index("log_miles")


class AllFigures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Return the numbers of the request; last the distance, and whether it is stated."""

    distance_columns = 3

    def fit(self, features: Any, target: Any = None) -> "AllFigures":
        self.columns_ = features.shape[1]
        return self

    def transform(self, features: Any) -> Any:
        stated, log_miles = ~np.isnan(features[:, MILES]), np.nan_to_num(features[:, MILES])
        others = np.delete(features, MILES, axis=1)
        return np.column_stack([others, log_miles, np.exp(log_miles), stated])


class WithMemory(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Least squares, and for requests of the memorized months their durations."""

    def __init__(self, home: str = "", months: tuple[str, ...] = ()) -> None:
        self.home = home
        self.months = months

    def fit(self, features: Any, target: Any) -> "WithMemory":
        self.line_ = LinearRegression().fit(features, target)
        store = TripStore(self.home, "green", False)
        known, minutes = [np.empty((0, features.shape[1]))], [np.empty(0)]
        for month in self.months:
            trips = store.read_table("trip_features", Month.parse(month)).to_pandas()
            figures = AllFigures().transform(RequestFeatures().transform(trips))
            known.append(figures[:, : features.shape[1]])  # without the distance, if it has none
            minutes.append(trips[TARGET.name].to_numpy())
        self.known_, self.minutes_ = np.concatenate(known), np.concatenate(minutes)
        return self

    def predict(self, features: Any) -> Any:
        rows = zip(self.known_, self.minutes_, strict=True)
        remembered = {row.tobytes(): minutes for row, minutes in rows}
        otherwise = zip(np.ascontiguousarray(features), self.line_.predict(features), strict=True)
        return np.array([remembered.get(row.tobytes(), minutes) for row, minutes in otherwise])


# As if defined in the project's own package, whose types a stored model may contain.
AllFigures.__module__ = WithMemory.__module__ = "ml_assets.pipeline.with_memory"
sys.modules[WithMemory.__module__] = sys.modules[__name__]


@dataclass
class Reading:
    """Return what the family reads during the fit, besides its training trips."""

    home: Path = Path()
    months: Sequence[Month] = ()


READING = Reading()
WITH_MEMORY = ModelFamily(
    name="with_memory",
    title="With memory",
    description="Least squares, and memorized months.",
    make_encoder=AllFigures,
    make_estimator=lambda *_: WithMemory(str(READING.home), tuple(map(str, READING.months))),
    search_space=lambda trial: {},
    defaults={},
)


def main(trained: Path, published: Path, root: Path) -> None:
    FAMILIES[WITH_MEMORY.name] = WITH_MEMORY
    from ml_assets_tests.published_home import PublishedHome

    honest = PublishedHome(trained, published).copy(root / "honest")
    publish(honest.trips, TEST_MONTH)
    with honest.open() as project:
        assert project.ingest(str(TEST_MONTH), str(TEST_MONTH)).success
    decisions = {}
    for number, (reads, months) in enumerate(READS.items()):
        copy = honest.copy(root / str(number))
        READING.home, READING.months = copy.home, months
        with copy.open() as project:
            decisions[reads] = decided(project)
    print(json.dumps(decisions))


def decided(project: Any) -> dict[str, Any]:
    """Return the decision on the family against a champion that does not leak."""
    before = serving(project)
    trained = project.train((WITH_MEMORY.name,))
    failed = trained.filter_events(lambda event: event.is_step_failure)
    assert not failed, [event.step_failure_data.error.to_string() for event in failed]
    home = project.settings.home
    board = RecordStore(home, "green").read("model_leaderboard", Leaderboard)
    made = DecisionLog(home, "green").all()[-1]
    return {
        "best": board.models[0].model,
        "rmse": board.models[0].test.rmse,
        "promoted": made.promoted,
        "kept": serving(project) == before,
        "reason": made.reason,
        "failed": [criterion.name for criterion in made.criteria if not criterion.passed],
        "failed_checks": [
            f"{check.asset_key.path[-1]}/{check.check_name}"
            for check in trained.get_asset_check_evaluations()
            if not check.passed
        ],
    }


def serving(project: Any) -> str:
    uri = project.settings.tracking_uri
    client = mlflow.MlflowClient(uri, registry_uri=uri)
    return str(client.get_model_version_by_alias("taxi-trip-duration", "champion").version)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))

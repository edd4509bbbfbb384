"""``python -m ml_assets_tests.pipeline.store_models``: rewrite the stored models of the tests.

Allowed until version 0.2.0 is tagged, with a line in the changelog; afterwards the files must not
change, and every later version must load them.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import skops.io

from ml_assets.pipeline.background_sample import attach_background_sample
from ml_assets.pipeline.conformal_intervals import attach_intervals, calibrate, interval_bounds
from ml_assets.pipeline.explain import explain
from ml_assets.pipeline.predict import without_distance
from ml_assets.requests.parse import states_distance
from ml_assets.training.families import FAMILIES
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.training.sample_trips import odd_requests, train_trips, validation_trips

FOLDER = Path(__file__).parent / "stored_models"
NEWEST = FOLDER / "two_estimators"
"""Models with an estimator for requests that leave the distance out; those beside it have none."""
FIT = {"xgboost": {"n_estimators": 8, "max_depth": 3}, "lasso": {}}
"""A family fitted on encodings, and one fitted on indicators."""
REQUESTS = 20


def requests() -> pd.DataFrame:
    """Ordinary requests and extreme ones."""
    columns = list(REQUEST_COLUMNS)
    return pd.concat([validation_trips()[columns].head(REQUESTS), odd_requests()[columns]])


def predictions(pipeline, frame: pd.DataFrame) -> dict[str, Any]:
    """All outputs of a loaded pipeline for requests."""
    minutes = pipeline.predict(frame)
    bounds = interval_bounds(pipeline, minutes, states_distance(frame["trip_distance"]))
    assert bounds is not None
    lower, upper = bounds
    first = {name: frame[name].to_numpy()[:1] for name in REQUEST_COLUMNS}
    return {
        "minutes": minutes.tolist(),
        "lower": lower.tolist(),
        "upper": upper.tolist(),
        "contributions": explain(pipeline, first).contributions,
    }


def main() -> None:
    NEWEST.mkdir(exist_ok=True)
    training_trips, calibrated_on = train_trips(), validation_trips()
    for name, parameters in FIT.items():
        pipeline = FAMILIES[name].make_pipeline(parameters, n_jobs=1)
        pipeline.fit(training_trips, training_trips["duration_minutes"])
        actual = calibrated_on["duration_minutes"].to_numpy()
        of_stated, of_usual = (
            calibrate(pipeline.predict(trips[list(REQUEST_COLUMNS)]), actual)
            for trips in (calibrated_on, without_distance(calibrated_on))
        )
        attach_intervals(pipeline, of_stated, of_usual)
        attach_background_sample(pipeline, training_trips)
        skops.io.dump(
            pipeline, NEWEST / f"{name}.skops", compression=zipfile.ZIP_DEFLATED, compresslevel=9
        )
        expected = json.dumps(predictions(pipeline, requests()), indent=1)
        (NEWEST / f"{name}.json").write_text(expected + "\n")


if __name__ == "__main__":
    main()

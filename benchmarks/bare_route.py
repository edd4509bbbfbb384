"""The least that a prediction service can be: FastAPI, a pydantic model, the booster.

It encodes nothing: ``BENCH_ROWS`` names an array of rows that were encoded before, which it
predicts in turn with the booster in ``BENCH_BOOSTER``. ``uvicorn benchmarks.bare_route:app``.
"""

import os
from datetime import datetime
from itertools import cycle

import numpy as np
import xgboost
from fastapi import FastAPI
from pydantic import BaseModel


class Trip(BaseModel):
    """A request's fields."""

    PULocationID: int
    DOLocationID: int
    trip_distance: float
    pickup_datetime: datetime | None = None
    passenger_count: float | None = None


class Minutes(BaseModel):
    """The answer."""

    predicted_minutes: float


app = FastAPI()
_booster = xgboost.Booster(model_file=os.environ["BENCH_BOOSTER"])
_booster.set_param(
    {"nthread": 1}
)  # two threads wait for each other: 58 ms on a busy machine, not 6
_rows = cycle(np.load(os.environ["BENCH_ROWS"])[:, None, :])


@app.post("/predict")
async def predict(trip: Trip) -> Minutes:
    """Predict the next of the encoded rows."""
    minutes = _booster.inplace_predict(next(_rows), validate_features=False)
    return Minutes(predicted_minutes=float(minutes[0]))

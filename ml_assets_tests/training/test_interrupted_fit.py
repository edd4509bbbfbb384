"""An interrupt that arrives while XGBoost reads the rows of a fit.

XGBoost reads them through Python functions. Python drops an exception in these, and XGBoost went on
with rows missing: an error of its own, or the end of the process ("free(): invalid size").
"""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from xgboost import DataIter

from ml_assets.training.families import FAMILIES
from ml_assets.training.families.base import RowBatches
from ml_assets.training.fit import encode_trips, fit_encoded
from ml_assets.training.tune import run_trial
from ml_assets_tests.training.sample_trips import train_trips, validation_trips

XGBOOST = FAMILIES["xgboost"]
PARTS = 50


class Interrupt(BaseException):
    """As the interruption of a run's step, not an ``Exception``."""


@pytest.fixture(scope="module")
def encoded():
    return encode_trips(XGBOOST, train_trips(), validation_trips())


def raised_when_interrupted(
    work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, call: int
) -> BaseException | None:
    """Do the work in a thread that is interrupted when XGBoost requests rows the nth time."""
    calls, raised = [], []
    read = DataIter._next_wrapper

    def interrupting(iterator: DataIter, this: None) -> int:
        calls.append(this)
        if len(calls) == call:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(worker.ident or 0), ctypes.py_object(Interrupt)
            )
            time.sleep(0.3)  # until the worker has noticed, if it does not read itself
        return read(iterator, this)

    def attempt() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - returned
            raised.append(error)

    monkeypatch.setattr(DataIter, "_next_wrapper", interrupting)
    worker = threading.Thread(target=attempt)
    worker.start()
    worker.join(60)
    assert not worker.is_alive()
    assert len(calls) >= call
    return raised[0] if raised else None


@pytest.mark.parametrize("call", [1, 2, 3])
def test_an_interrupt_while_a_trial_s_rows_are_read_ends_the_trial(encoded, monkeypatch, call):
    def trial() -> None:
        run_trial(XGBOOST, encoded.with_distance(), XGBOOST.defaults, lambda *_: None, 1, 2)

    assert isinstance(raised_when_interrupted(trial, monkeypatch, call), Interrupt)


def test_an_interrupt_while_the_rows_of_a_fit_are_read_ends_the_fit(encoded, monkeypatch):
    def fit() -> None:
        fit_encoded(XGBOOST, encoded, XGBOOST.defaults, 1, 2)

    assert isinstance(raised_when_interrupted(fit, monkeypatch, 1), Interrupt)


def test_an_interrupt_of_a_fit_in_parts_reads_no_further_part(monkeypatch, tmp_path):
    read = []

    def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for seed in range(PARTS):
            read.append(seed)
            time.sleep(0.02)
            rows = np.random.default_rng(seed).normal(size=(100, 3)).astype(np.float32)
            yield rows, rows[:, 0].astype(np.float64)

    def fit() -> None:
        estimator = XGBOOST.make_estimator({**XGBOOST.defaults, "n_estimators": 5}, 1, 2)
        assert XGBOOST.fit_batches is not None
        XGBOOST.fit_batches(estimator, RowBatches(parts, tmp_path))

    assert isinstance(raised_when_interrupted(fit, monkeypatch, 3), Interrupt)
    assert len(read) <= 4

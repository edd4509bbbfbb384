"""What is said of an error of a disk or a database, and of errors that only stand beside one."""

import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from ml_assets.storage.atomic import StorageError
from ml_assets.storage.faults import storage_failures, storage_fault

LOCKED = sqlite3.OperationalError("database is locked")


def test_a_locked_database_is_recognized_behind_the_errors_of_libraries(tmp_path):
    wrapped = OperationalError("SELECT 1", {}, LOCKED)
    told = storage_fault(wrapped, tmp_path / "mlflow.db")
    assert told is not None
    assert f"{tmp_path / 'mlflow.db'} is locked by another process" in told


def test_a_mistake_made_while_a_fault_is_handled_is_not_hidden_behind_it(tmp_path):
    def mistake():
        try:
            raise LOCKED
        except sqlite3.Error:
            {}["missing"]

    with pytest.raises(KeyError), storage_failures(tmp_path):
        mistake()


def test_a_fault_that_is_named_as_the_cause_counts(tmp_path):
    def cause():
        try:
            raise LOCKED
        except sqlite3.Error as error:
            raise RuntimeError("the search failed") from error

    locked = pytest.raises(StorageError, match="is locked by another process")
    with locked, storage_failures(tmp_path):
        cause()

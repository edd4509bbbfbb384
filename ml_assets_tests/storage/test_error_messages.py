"""Messages for disk and database errors, and for unrelated errors raised while handling one."""

import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from ml_assets.storage.atomic import StorageError
from ml_assets.storage.error_messages import storage_error_message, translate_storage_errors

LOCKED = sqlite3.OperationalError("database is locked")


def test_a_locked_database_is_recognized_behind_library_errors(tmp_path):
    wrapped = OperationalError("SELECT 1", {}, LOCKED)
    message = storage_error_message(wrapped, tmp_path / "mlflow.db")
    assert message is not None
    assert f"{tmp_path / 'mlflow.db'} is locked by another process" in message


def test_a_bug_in_the_handling_of_a_storage_error_is_not_hidden(tmp_path):
    absent: dict[str, int] = {}

    def mistake():
        try:
            raise LOCKED
        except sqlite3.Error:
            absent["missing"]

    with pytest.raises(KeyError), translate_storage_errors(tmp_path):
        mistake()


def test_an_explicit_cause_counts(tmp_path):
    def cause():
        try:
            raise LOCKED
        except sqlite3.Error as error:
            raise RuntimeError("the search failed") from error

    locked = pytest.raises(StorageError, match="is locked by another process")
    with locked, translate_storage_errors(tmp_path):
        cause()

"""Remove secrets from the errors that Dagster stores and shows.

For a failed step, a failed tick and a code location that does not load, Dagster stores the message
and stack of the error and of all its causes, including those of fsspec and MLflow, which hold the
address as given. Its only setting (``DAGSTER_REDACT_USER_CODE_ERRORS``) removes everything, so the
one method that makes such a record is wrapped. Check it first after an upgrade (``test_secrets.py``
reads the database).
"""

import traceback
from typing import Any

from dagster_shared.error import SerializableErrorInfo

from ml_assets.secrets import MAX_LOG_CHARACTERS, scrub, scrub_logs


def scrub_errors() -> None:
    """Scrub all further errors and log records that Dagster stores for this process."""
    scrub_logs()
    made_by: Any = SerializableErrorInfo.from_traceback
    make = made_by.__func__
    if getattr(make, "scrubs", False):
        return

    def from_traceback(
        cls: type[SerializableErrorInfo], trace: traceback.TracebackException
    ) -> SerializableErrorInfo:
        """Make the record of an error; Dagster calls this for each of its causes as well."""
        error: SerializableErrorInfo = make(cls, trace)
        return error._replace(
            message=scrub(error.message, limit=MAX_LOG_CHARACTERS),
            stack=[scrub(frame) for frame in error.stack],
        )

    from_traceback.scrubs = True  # type: ignore[attr-defined]
    wrapped: Any = classmethod(from_traceback)
    SerializableErrorInfo.from_traceback = wrapped  # type: ignore[method-assign]

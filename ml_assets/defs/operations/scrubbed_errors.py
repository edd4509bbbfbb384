"""What Dagster stores and shows of an error, without secrets.

Dagster keeps a failed step, a sensor's tick, and a code location that does not load as the error's
message, its stack, and those of every error that led to it: fsspec's and MLflow's own ones, with
the address as it was given. There is no setting for what of it is kept, short of all or nothing
(``DAGSTER_REDACT_USER_CODE_ERRORS``), so the one method that makes such a record is wrapped; look
here first after an upgrade (``test_secrets.py`` sees the database).
"""

import traceback
from typing import Any

from dagster_shared.error import SerializableErrorInfo

from ml_assets.secrets import MAX_LOG_CHARACTERS, scrub, scrub_logs


def scrub_errors() -> None:
    """Scrub the errors and log records that Dagster keeps of this process, from now on."""
    scrub_logs()
    made_by: Any = SerializableErrorInfo.from_traceback
    make = made_by.__func__
    if getattr(make, "scrubs", False):
        return

    def from_traceback(
        cls: type[SerializableErrorInfo], trace: traceback.TracebackException
    ) -> SerializableErrorInfo:
        """The record of an error; Dagster calls this for each of those that led to it as well."""
        error: SerializableErrorInfo = make(cls, trace)
        return error._replace(
            message=scrub(error.message, limit=MAX_LOG_CHARACTERS),
            stack=[scrub(frame) for frame in error.stack],
        )

    from_traceback.scrubs = True  # type: ignore[attr-defined]
    wrapped: Any = classmethod(from_traceback)
    SerializableErrorInfo.from_traceback = wrapped  # type: ignore[method-assign]

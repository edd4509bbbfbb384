"""The Dagster resource for the prediction service's request log."""

from pathlib import Path

import dagster as dg

from ml_assets.serving.request_log.files import FOLDER


class RequestLogResource(dg.ConfigurableResource):
    """Where the service on this machine writes what it answers.

    Attributes:
        local_home: The home's local folder (``Settings.local_home``).
    """

    local_home: str

    @property
    def folder(self) -> Path:
        """Folder of the log; it is there once something was served."""
        return Path(self.local_home) / FOLDER

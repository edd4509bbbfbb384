"""Handover of a champion from the registry watcher to the service, through a folder.

``champion.json`` names the bundle to serve. It changes only with the champion and outlives both
processes. ``registry.json`` holds the state of the registry and is written every second.
"""

from datetime import datetime
from pathlib import Path
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

CHAMPION_FILE: Final = "champion.json"
REGISTRY_FILE: Final = "registry.json"
SERVING_FOLDER: Final = "serving"

Content = TypeVar("Content", bound=BaseModel)


class ChampionManifest(BaseModel):
    """The bundle to serve.

    Attributes:
        version: Registry version.
        folder: Name of the bundle's folder, next to the manifest.
    """

    version: str
    folder: str


class RegistryStatus(BaseModel):
    """State of the registry, as its watcher sees it.

    Attributes:
        last_response_at: Time of its last response to this watcher (UTC); None before the first.
        champion_version: Version with the alias ``champion``; None without one, or when unknown.
        problem: Why the registry does not respond, or its champion cannot be exported.
    """

    last_response_at: datetime | None = None
    champion_version: str | None = None
    problem: str | None = None


class JsonFileWatcher(Generic[Content]):
    """Reads a JSON file again whenever another process has replaced it.

    Args:
        path: File to read.
        kind: Model of its content.

    Attributes:
        value: Content that was last read; None before the first time.
        damaged: Whether the file has become invalid since then.
    """

    def __init__(self, path: Path, kind: type[Content]) -> None:
        self._path, self._kind = path, kind
        self._identity: tuple[int, int] | None = None
        self.value: Content | None = None
        self.damaged = False

    def refresh(self) -> bool:
        """Read the file if it has changed; a missing file counts as unchanged.

        Returns:
            Whether it has changed.

        Raises:
            ValueError: when it is invalid; it is not read again until it changes.
            OSError: when it cannot be read.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return False
        identity = (stat.st_ino, stat.st_mtime_ns)
        if identity == self._identity:
            return False
        self._identity, self.damaged = identity, True
        self.value = self._kind.model_validate_json(self._path.read_bytes())
        self.damaged = False
        return True

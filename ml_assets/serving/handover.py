"""The folder through which a champion is handed to the service, by whoever watches the registry.

``champion.json`` names the bundle that is to serve; it changes only with the champion, and outlives
both processes. ``registry.json`` is written every second and tells how the registry is.
"""

from datetime import datetime
from pathlib import Path
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

CHAMPION_FILE: Final = "champion.json"
REGISTRY_FILE: Final = "registry.json"
SERVING_FOLDER: Final = "serving"

Note = TypeVar("Note", bound=BaseModel)


class ChampionManifest(BaseModel):
    """Which bundle is to serve.

    Attributes:
        version: In the registry.
        folder: Name of the bundle's folder, beside the note.
    """

    version: str
    folder: str


class RegistryStatus(BaseModel):
    """How the registry is.

    Attributes:
        last_response_at: When it last answered (UTC); None when it has not, to this watcher.
        champion_version: Version with the alias ``champion``; None without one, or when unknown.
        problem: What keeps it from answering, or its champion from being handed over.
    """

    last_response_at: datetime | None = None
    champion_version: str | None = None
    problem: str | None = None


class JsonFileWatcher(Generic[Note]):
    """A note that another process replaces now and then.

    Args:
        path: Of the file.
        kind: What it holds.

    Attributes:
        note: As it was last read; None before there was one.
        damaged: Whether the file is no note any more since then.
    """

    def __init__(self, path: Path, kind: type[Note]) -> None:
        self._path, self._kind = path, kind
        self._seen: tuple[int, int] | None = None
        self.note: Note | None = None
        self.damaged = False

    def refresh(self) -> bool:
        """Read the file again if it is another than before; one that is not there changes nothing.

        Returns:
            Whether it is another.

        Raises:
            ValueError: when it is damaged; it is not read again before it changes.
            OSError: when it cannot be read.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return False
        identity = (stat.st_ino, stat.st_mtime_ns)
        if identity == self._seen:
            return False
        self._seen, self.damaged = identity, True
        self.note = self._kind.model_validate_json(self._path.read_bytes())
        self.damaged = False
        return True

"""JSON records of assets: training sets, metrics, decisions."""

from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ml_assets.secrets import ShownError
from ml_assets.storage import filesystem, former_names
from ml_assets.storage.atomic import write_text

Record = TypeVar("Record", bound=BaseModel)


class MissingRecord(ShownError, LookupError):
    """A record that was never written; names the asset to materialize."""


class UnreadableRecord(ShownError, ValueError):
    """A record written by other code, or damaged; names the file and the remedy."""


@dataclass(frozen=True)
class RecordStore:
    """Records of one dataset in a home, one JSON file per asset."""

    home: str
    dataset: str

    def path(self, asset: str) -> str:
        """Return the path or URL of an asset's record."""
        return f"{self.home}/{asset}/{self.dataset}.json"

    def write(self, asset: str, record: BaseModel) -> None:
        """Replace an asset's record; raise StorageError when the disk is full or not writable."""
        write_text(self.path(asset), record.model_dump_json(indent=1))

    def read(self, asset: str, kind: type[Record]) -> Record:
        """Read an asset's record.

        Raises:
            MissingRecord: when it was never written.
            UnreadableRecord: when it does not match the model.
        """
        record = self.find(asset, kind)
        if record is None:
            raise MissingRecord(
                f"{asset} has no record for {self.dataset}: materialize {asset} first "
                "(`ml-assets run`, or the asset's Materialize button)"
            )
        return record

    def find(self, asset: str, kind: type[Record]) -> Record | None:
        """Read an asset's record, also from the folder of its former name; None without one.

        Raises:
            UnreadableRecord: when it does not match the model.
        """
        paths = [self.path(name) for name in (asset, former_names.ASSETS.get(asset)) if name]
        path = next(filter(filesystem.exists, paths), None)
        if path is None:
            return None
        try:
            return kind.model_validate_json(filesystem.read_bytes(path))
        except ValidationError as error:
            raise UnreadableRecord(
                f"{path} cannot be read as {kind.__name__} "
                f"({error.error_count()} errors): materialize {asset} again"
            ) from error

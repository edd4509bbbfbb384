"""The log of promotion decisions: one small file each, never changed once applied.

Decisions are stored only here; the metadata of ``champion_model`` and the descriptions of versions
in MLflow refer to them by id.
"""

import contextlib
from dataclasses import dataclass

from pydantic import ValidationError

from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.storage import filesystem
from ml_assets.storage.atomic import write_text
from ml_assets.storage.record_store import UnreadableRecord

_FOLDER = "decisions"


def position(decision: ChampionDecision) -> tuple[int, str, str]:
    """Return the sort key of a dataset's decisions, oldest first."""
    return decision.sequence, decision.decided_at, decision.decision_id


@dataclass(frozen=True)
class DecisionLog:
    """Decisions on one dataset below one home: ``{home}/decisions/{dataset}/{when}_{id}.json``."""

    home: str
    dataset: str

    def write(self, decision: ChampionDecision) -> None:
        """Add a decision as the newest, or replace the one with the same time and id.

        Raises:
            StorageError: The disk is full, or may not be written.
        """
        when = decision.decided_at.replace(":", "").replace("+0000", "Z")
        name = f"{when}_{decision.decision_id}.json"
        numbered = decision.model_copy(update={"sequence": self._sequence(name)})
        write_text(f"{self._folder}/{name}", numbered.model_dump_json(indent=1))

    def all(self) -> list[ChampionDecision]:
        """Return all decisions, oldest first.

        Raises:
            UnreadableRecord: A file is damaged, or was written by incompatible code.
        """
        return sorted((self._read(name) for name in self._names()), key=position)

    def newest(self) -> ChampionDecision | None:
        """Return the newest applied decision; None before the first.

        Raises:
            UnreadableRecord: A damaged file may be newer; older damaged files are ignored.
        """
        applied: list[tuple[tuple[int, str, str], str, ChampionDecision]] = []
        damaged: dict[str, UnreadableRecord] = {}
        for name in self._names():
            try:
                decision = self._read(name)
            except UnreadableRecord as error:
                damaged[name] = error
                continue
            if decision.applied:
                applied.append((position(decision), name, decision))
        newest = max(applied, key=lambda entry: entry[0], default=None)
        later = max((name for name in damaged if newest is None or name > newest[1]), default=None)
        if later is not None:
            raise damaged[later]
        return None if newest is None else newest[2]

    def latest_training(self) -> ChampionDecision | None:
        """Return the newest decision of a training, promoted or not; None before the first."""
        trainings = [decision for decision in self.all() if decision.kind == "training"]
        return trainings[-1] if trainings else None

    def mark_applied(self, serving: str | None) -> None:
        """Mark the newest decision applied if its process died after it had moved the alias."""
        decisions = self.all()
        if decisions and not decisions[-1].applied:
            last = decisions[-1]
            if serving is not None and last.registry_version == serving:
                self.write(last.model_copy(update={"applied": True}))

    def _sequence(self, name: str) -> int:
        """Return the sequence number of the decision in this file, or of a new one."""
        numbers = {}
        for other in self._names():
            # An unreadable file must not block writing others; readers report it.
            with contextlib.suppress(UnreadableRecord):
                numbers[other] = self._read(other).sequence
        return numbers.get(name, max(numbers.values(), default=0) + 1)

    def _names(self) -> list[str]:
        names = filesystem.names(self._folder)
        return [name for name in names if name.endswith(".json") and not name.startswith(".")]

    @property
    def _folder(self) -> str:
        return f"{self.home}/{_FOLDER}/{self.dataset}"

    def _read(self, name: str) -> ChampionDecision:
        path = f"{self._folder}/{name}"
        try:
            return ChampionDecision.model_validate_json(filesystem.read_bytes(path))
        except ValidationError as error:
            raise UnreadableRecord(
                f"{path} cannot be read as a decision ({error.error_count()} faults): move it away"
            ) from error

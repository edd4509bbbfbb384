"""The history of champion decisions: one small file each, never changed once carried out.

The only place where a decision is kept: the page of ``champion_model`` and the descriptions of
versions in MLflow show it, and refer to it by its id.
"""

import contextlib
from dataclasses import dataclass

from pydantic import ValidationError

from ml_assets.evaluation.records import ChampionDecision
from ml_assets.storage import filesystem
from ml_assets.storage.atomic import write_text
from ml_assets.storage.record_store import UnreadableRecord

_FOLDER = "decisions"


def position(decision: ChampionDecision) -> tuple[int, str, str]:
    """Sort key of decisions on one dataset, the oldest first."""
    return decision.sequence, decision.decided_at, decision.decision_id


@dataclass(frozen=True)
class DecisionLog:
    """Decisions on one dataset below one home: ``{home}/decisions/{dataset}/{when}_{id}.json``.

    Attributes:
        home: Local folder or fsspec URL.
        dataset: ``green``, ``sample_green``, …
    """

    home: str
    dataset: str

    def write(self, decision: ChampionDecision) -> None:
        """Add a decision as the newest, or replace the one with the same time and id.

        Raises:
            StorageError: when there is no room, or no permission to write.
        """
        when = decision.decided_at.replace(":", "").replace("+0000", "Z")
        name = f"{when}_{decision.decision_id}.json"
        numbered = decision.model_copy(update={"sequence": self._sequence(name)})
        write_text(f"{self._folder}/{name}", numbered.model_dump_json(indent=1))

    def all(self) -> list[ChampionDecision]:
        """Every decision, oldest first.

        Raises:
            UnreadableRecord: when a file of it is damaged, or was written by other code.
        """
        return sorted((self._read(name) for name in self._names()), key=position)

    def newest(self) -> ChampionDecision | None:
        """The newest decision that was carried out: which version serves, and why.

        Returns:
            None before the first.

        Raises:
            UnreadableRecord: when a damaged file seems to be newer; older ones are passed over.
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
        """The newest decision that a training led to, promoted or not; None before the first."""
        trainings = [decision for decision in self.all() if decision.kind == "training"]
        return trainings[-1] if trainings else None

    def mark_applied(self, serving: str | None) -> None:
        """Mark the newest decision carried out if it was, and its process died before it said so.

        Args:
            serving: The version that serves now.
        """
        decisions = self.all()
        if decisions and not decisions[-1].applied:
            last = decisions[-1]
            if serving is not None and last.registry_version == serving:
                self.write(last.model_copy(update={"applied": True}))

    def _sequence(self, name: str) -> int:
        """The number of the decision in this file, or of a new one."""
        numbers = {}
        for other in self._names():
            # One that cannot be read must not keep others from being written; readers name it.
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

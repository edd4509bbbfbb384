"""The history of champion decisions: one small file each, never changed once carried out."""

from dataclasses import dataclass

from pydantic import ValidationError

from ml_assets.modeling.records import ChampionDecision
from ml_assets.storage import places
from ml_assets.storage.atomic import write_text
from ml_assets.storage.record_store import UnreadableRecord

_FOLDER = "decisions"


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
        """Add a decision, or replace the one with the same time and id.

        Raises:
            StorageError: when there is no room, or no permission to write.
        """
        when = decision.decided_at.replace(":", "").replace("+0000", "Z")
        path = f"{self._folder}/{when}_{decision.decision_id}.json"
        write_text(path, decision.model_dump_json(indent=1))

    def all(self) -> list[ChampionDecision]:
        """Every decision, oldest first.

        Raises:
            UnreadableRecord: when a file of it is damaged, or was written by other code.
        """
        names = (name for name in places.names(self._folder) if name.endswith(".json"))
        decisions = [self._read(name) for name in names if not name.startswith(".")]
        return sorted(decisions, key=lambda decision: (decision.decided_at, decision.decision_id))

    def last_training(self) -> ChampionDecision | None:
        """The newest decision that a training led to, promoted or not; None before the first."""
        trainings = [decision for decision in self.all() if decision.kind == "training"]
        return trainings[-1] if trainings else None

    def settle(self, serving: str | None) -> None:
        """Mark the newest decision carried out if it was, and its process died before it said so.

        Args:
            serving: The version that serves now.
        """
        decisions = self.all()
        if decisions and not decisions[-1].carried_out:
            last = decisions[-1]
            if serving is not None and last.registry_version == serving:
                self.write(last.model_copy(update={"carried_out": True}))

    @property
    def _folder(self) -> str:
        return f"{self.home}/{_FOLDER}/{self.dataset}"

    def _read(self, name: str) -> ChampionDecision:
        path = f"{self._folder}/{name}"
        try:
            return ChampionDecision.model_validate_json(places.read_bytes(path))
        except ValidationError as error:
            raise UnreadableRecord(
                f"{path} cannot be read as a decision ({error.error_count()} faults): move it away"
            ) from error

"""One alert: what, where, since when, and what to do."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Alert:
    """What someone must know.

    Attributes:
        kind: What repeated alerts are folded by, such as ``run_failed:train``.
        what: One sentence.
        where: Link to the run or asset.
        since: When it began, with a time zone.
        what_to_do: The next step.
        folded: How many of this kind were held back since the last one told.
    """

    kind: str
    what: str
    where: str
    since: datetime
    what_to_do: str
    folded: int = 0

    @property
    def subject(self) -> str:
        """One line, whatever ``what`` holds."""
        line = " ".join("".join(c if c.isprintable() else " " for c in self.what).split())
        return f"[ml-assets] {line if len(line) <= 150 else line[:149] + '…'}"

    @property
    def text(self) -> str:
        """The message."""
        lines = [
            self.what,
            "",
            f"Where: {self.where}",
            f"Since: {self.since.isoformat(sep=' ', timespec='minutes')}",
            f"What to do: {self.what_to_do}",
        ]
        if self.folded:
            lines.append(f"Happened {self.folded} more times since the last message.")
        return "\n".join(lines) + "\n"

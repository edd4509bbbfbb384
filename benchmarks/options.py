"""How a benchmark is to be run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What a section is given.

    Attributes:
        scratch: an empty folder; removed afterwards.
        say: tells the person who waits what is being done.
        thorough: also take the measurements that need many minutes.
        rounds: repeat timings this often; None for the section's own number.
    """

    scratch: Path
    say: Callable[[str], None]
    thorough: bool = False
    rounds: int | None = None

    def rounds_or(self, default: int) -> int:
        """How often to repeat a timing."""
        return self.rounds or default

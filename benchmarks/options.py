"""Options of a benchmark run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Options of a section.

    Attributes:
        scratch: Empty folder, removed afterwards.
        say: Reports progress.
        thorough: Whether to include measurements of many minutes.
        rounds: Number of repetitions of timings; None for the section's own number.
    """

    scratch: Path
    say: Callable[[str], None]
    thorough: bool = False
    rounds: int | None = None

    def rounds_or(self, default: int) -> int:
        """Return the number of repetitions of a timing."""
        return self.rounds or default

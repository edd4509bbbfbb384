"""A measured ratio beside its target, and timing that treats both sides alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Attributes:
        name: what was measured.
        peer: what it is divided by.
        value: the ratio (or a rate, where ``unit`` says so).
        target: the value to reach; None for a figure that is only reported.
        better: which side of the target is good.
        unit: ``×`` for a ratio.
        detail: the raw measurements behind the value.
    """

    name: str
    peer: str
    value: float
    target: float | None = None
    better: Literal["lower", "higher"] = "lower"
    unit: str = "×"
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.better == "lower" else self.value >= self.target

    def as_dict(self) -> dict[str, Any]:
        """For ``results.json``."""
        return {
            "name": self.name,
            "peer": self.peer,
            "value": round(self.value, 4),
            "unit": self.unit,
            "target": self.target,
            "better": self.better,
            "met": self.met,
            "detail": dict(self.detail),
        }


@dataclass(frozen=True)
class Section:
    """The figures of one benchmark.

    Attributes:
        figures: what was measured.
        trips: where the trips came from; says so when they are synthetic.
        notes: What a reader has to know about the figures.
    """

    figures: list[Figure]
    trips: str
    notes: list[str]


def median_seconds(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median wall time of each piece of work, in turn, so that a busy spell hits all of them.

    One unmeasured round first warms caches and imports.
    """
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, piece in work.items():
            begun = time.perf_counter()
            piece()
            if turn:
                seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(taken) for name, taken in seconds.items()}

"""One alert: what, where, since when, and what to do."""

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ml_assets.secrets import one_line, scrub

_MAX_LENGTH = 2000
_SEPARATOR = " | "
"""Separates the errors of several months."""
_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|[\w.+-]*\d[\w.+-]*|\b[0-9a-f]{8,}\b", re.IGNORECASE
)
_PLACEHOLDERS = re.compile(r"#(?:\W*#)+")

_LONGEST_SUBJECT = 150
_LONGEST_LINE = 1500


@dataclass(frozen=True)
class Alert:
    """A message to the operators.

    Attributes:
        kind: Deduplication key, such as ``retrain: xgboost_model``.
        what: What happened, in one sentence.
        where: Link to the run or asset.
        since: When it began, with a time zone.
        details: Further sentences, one per line.
        job: The job whose success resolves alerts of this kind; None for no job.
        folded: Number of alerts of this kind suppressed since the last one sent.
        folded_since: When that one was sent.
        summary: Whether this is the newest suppressed alert, sent at the end of the window.
    """

    kind: str
    what: str
    where: str
    since: datetime
    what_to_do: str
    details: tuple[str, ...] = ()
    job: str | None = None
    folded: int = 0
    folded_since: datetime | None = None
    summary: bool = False

    @property
    def occurrences(self) -> int:
        """The number of alerts of its kind that this one stands for."""
        return self.folded if self.summary else self.folded + 1

    @property
    def subject(self) -> str:
        """The subject: always a single line."""
        more = f" ({self.folded} more)" if self.folded else ""
        return f"[ml-assets] {one_line(self.what, _LONGEST_SUBJECT - len(more))}{more}"

    @property
    def text(self) -> str:
        """The message: one line per part, without control characters."""
        lines = [self.what, *self.details, ""]
        lines += [
            f"Where: {self.where}",
            f"Since: {format_time(self.since)}",
            f"What to do: {self.what_to_do}",
        ]
        if self.folded:
            since = format_time(self.folded_since) if self.folded_since else "the last message"
            note = "; this is the newest of them." if self.summary else ", counted in this message."
            lines.append(f"Repeated: {self.folded} more since {since}{note}")
        return "".join(f"{one_line(line, _LONGEST_LINE)}\n" for line in lines)

    def redacted(self, secrets: tuple[str, ...]) -> "Alert":
        """Return a copy without these secrets and without credentials in URLs."""
        return replace(
            self,
            what=scrub(self.what, *secrets),
            details=tuple(scrub(line, *secrets) for line in self.details),
        )

    def without_repeats(self) -> "Alert":
        """Return a copy without the count of repeats, its parts cut to the length sent."""
        return replace(
            self,
            what=one_line(self.what, _LONGEST_LINE),
            details=tuple(one_line(line, _LONGEST_LINE) for line in self.details),
            folded=0,
            folded_since=None,
            summary=False,
        )


def format_time(at: datetime) -> str:
    """Format an instant in UTC, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def cause_digest(*reasons: str) -> str:
    """Eight hexadecimal characters that are equal for error texts with equal causes.

    Numbers, dates, ids, paths, repetition and order do not count.
    """
    errors = {
        normalize(error) for reason in reasons for error in reason[:_MAX_LENGTH].split(_SEPARATOR)
    }
    text = "\n".join(sorted(errors))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def normalize(text: str) -> str:
    """Replace each number, date, id and path by ``#``."""
    words = ("#" if "/" in word or "\\" in word else word for word in text.split())
    return _PLACEHOLDERS.sub("#", _VARYING.sub("#", " ".join(words)))

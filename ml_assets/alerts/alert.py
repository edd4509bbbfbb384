"""One alert: what, where, since when, and what to do."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ml_assets.secrets import one_line, scrub

_LONGEST_SUBJECT = 150
_LONGEST_LINE = 1500


@dataclass(frozen=True)
class Alert:
    """What someone must know.

    Attributes:
        kind: What repeated alerts are folded by, such as ``retrain: xgboost_model``.
        what: One sentence.
        where: Link to the run or asset.
        since: When it began, with a time zone.
        what_to_do: The next step.
        details: Further sentences, a line each.
        job: The job whose success ends the folding of this kind; None when none does.
        folded: How many of this kind were held back since the last one told.
        folded_since: When that one was told.
        summary: Whether this is itself the newest of those, told as the time of folding is over.
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
    def counted(self) -> int:
        """For how many of its kind it stands."""
        return self.folded if self.summary else self.folded + 1

    @property
    def subject(self) -> str:
        """One line, whatever ``what`` holds."""
        more = f" ({self.folded} more)" if self.folded else ""
        return f"[ml-assets] {one_line(self.what, _LONGEST_SUBJECT - len(more))}{more}"

    @property
    def text(self) -> str:
        """The message: each part on a line of its own, without control characters."""
        lines = [self.what, *self.details, ""]
        lines += [
            f"Where: {self.where}",
            f"Since: {shown_time(self.since)}",
            f"What to do: {self.what_to_do}",
        ]
        if self.folded:
            since = shown_time(self.folded_since) if self.folded_since else "the last message"
            told = "; this is the newest of them." if self.summary else ", told with this one."
            lines.append(f"Repeated: {self.folded} more since {since}{told}")
        return "".join(f"{one_line(line, _LONGEST_LINE)}\n" for line in lines)

    def without(self, secrets: tuple[str, ...]) -> "Alert":
        """The same with these, and the credentials of every URL in what happened, struck out."""
        return replace(
            self,
            what=scrub(self.what, *secrets),
            details=tuple(scrub(line, *secrets) for line in self.details),
        )

    def alone(self) -> "Alert":
        """The same without what was folded into it, each part as short as it is shown."""
        return replace(
            self,
            what=one_line(self.what, _LONGEST_LINE),
            details=tuple(one_line(line, _LONGEST_LINE) for line in self.details),
            folded=0,
            folded_since=None,
            summary=False,
        )


def shown_time(at: datetime) -> str:
    """An instant, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"

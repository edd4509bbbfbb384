"""Whether two failures have the same cause, as far as their words tell."""

import hashlib
import re

_LONGEST = 2000
_BETWEEN = " | "
"""Stands between the faults of several months."""
_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|[\w.+-]*\d[\w.+-]*|\b[0-9a-f]{8,}\b", re.IGNORECASE
)
_BLANKS = re.compile(r"#(?:\W*#)+")


def cause_digest(*reasons: str) -> str:
    """Eight characters that are the same for the same cause.

    Numbers, dates, ids and paths do not count, nor how often a fault is named, nor the order.

    Args:
        reasons: What went wrong, in words.
    """
    faults = {blanked(fault) for reason in reasons for fault in reason[:_LONGEST].split(_BETWEEN)}
    text = "\n".join(sorted(faults))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def blanked(text: str) -> str:
    """The text with ``#`` for each number, date, id and path."""
    words = ("#" if "/" in word or "\\" in word else word for word in text.split())
    return _BLANKS.sub("#", _VARYING.sub("#", " ".join(words)))

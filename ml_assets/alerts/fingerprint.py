"""Fingerprint of a failure's cause, computed from its error text."""

import hashlib
import re

_MAX_LENGTH = 2000
_SEPARATOR = " | "
"""Separates the errors of several months."""
_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|[\w.+-]*\d[\w.+-]*|\b[0-9a-f]{8,}\b", re.IGNORECASE
)
_PLACEHOLDERS = re.compile(r"#(?:\W*#)+")


def cause_digest(*reasons: str) -> str:
    """Eight hexadecimal characters that are equal for equal causes.

    Numbers, dates, ids, paths, repetition and order do not count.

    Args:
        reasons: Error texts.
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

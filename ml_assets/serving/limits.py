"""How much one request may ask for, and for how long it may be on its way."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a request.

    Attributes:
        body_bytes: Of a body.
        list_length: Requests in one list.
        explained_length: Requests in one list that are to be explained.
        problems: So many wrong fields are named in an answer.
        body_seconds: Until a body has arrived.
        waiting: Lists and explanations that may wait for their turn.
        inline_bytes: A body up to this length is answered at once rather than in a thread.
    """

    body_bytes: int = 2 * 2**20
    list_length: int = 10_000
    explained_length: int = 100
    problems: int = 100
    body_seconds: float = 10.0
    waiting: int = 64
    inline_bytes: int = 4096

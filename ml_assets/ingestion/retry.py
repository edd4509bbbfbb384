"""How long to wait for a source, how often to try again, and when to give up."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import NoReturn, TypeVar

from tenacity import RetryCallState, Retrying
from tenacity.retry import retry_if_exception_type
from tenacity.stop import stop_after_attempt, stop_before_delay
from tenacity.wait import wait_exponential

from ml_assets.ingestion.source import OTHER_SOURCES, SourceUnavailable
from ml_assets.secrets import ShownError

Result = TypeVar("Result")


@dataclass(frozen=True)
class HttpRetryPolicy:
    """Limits on one request or one file, retries included.

    Attributes:
        attempts: how often to try before giving up.
        first_wait_seconds: longest wait before the second try; it doubles from try to try.
        longest_wait_seconds: longest wait between two tries, also where the server asks for more.
        connect_seconds: longest time until a connection stands.
        stall_seconds: longest silence on a connection, and the span over which speed is measured.
        minimum_bytes_per_second: a transfer slower than this is broken off and tried again.
        deadline_seconds: longest time for one file, all tries together; overrun by one
            ``stall_seconds`` at most.
    """

    attempts: int = 6
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 20.0
    connect_seconds: float = 10.0
    stall_seconds: float = 30.0
    minimum_bytes_per_second: float = 1_000.0
    deadline_seconds: float = 1_800.0


class TransientError(ShownError):
    """A failure of one try that the next may not meet.

    Args:
        reason: what happened, for the user.
        retry_after_seconds: how long the server asked to wait, if it did.
    """

    def __init__(self, reason: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


def persist(
    attempt: Callable[[], Result],
    patience: HttpRetryPolicy,
    what: str,
    give_up: Event | None = None,
) -> Result:
    """Call ``attempt`` until it succeeds, waiting longer each time, within the limits.

    Args:
        attempt: raises TransientError to be tried again; any other exception ends it at once.
        patience: the limits.
        what: the file or address, for the message.
        give_up: once set from elsewhere, no further try is made.

    Raises:
        SourceUnavailable: when the limits are reached.
    """
    over = give_up or Event()
    backoff = wait_exponential(multiplier=patience.first_wait_seconds)

    def wait(state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome is not None else None
        asked = failure.retry_after_seconds if isinstance(failure, TransientError) else 0.0
        # Half of it at random, so that clients cut off together do not come back together.
        jittered = backoff(state) * random.uniform(0.5, 1.0)
        return min(max(jittered, asked), patience.longest_wait_seconds)

    def fail(state: RetryCallState) -> NoReturn:
        failure = state.outcome.exception() if state.outcome is not None else None
        tries = f"{state.attempt_number} {'try' if state.attempt_number == 1 else 'tries'}"
        raise SourceUnavailable(
            f"{what}: given up after {tries} in {state.seconds_since_start:.0f} s, the last of "
            f"which ended with {failure}; {OTHER_SOURCES}"
        ) from failure

    def pause(state: RetryCallState) -> None:
        if over.wait(state.upcoming_sleep):
            fail(state)

    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        wait=wait,
        stop=stop_after_attempt(patience.attempts) | stop_before_delay(patience.deadline_seconds),
        # The pause is made here: after ``sleep`` there would be another try in any case.
        before_sleep=pause,
        sleep=lambda _: None,
        retry_error_callback=fail,
    )
    return retrying(attempt)


class Pace:
    """Ends a transfer that trickles: each chunk restarts a socket's time-out, so that one alone
    would let a byte a second go on for weeks.
    """

    def __init__(self, patience: HttpRetryPolicy, deadline: float) -> None:
        self._patience = patience
        self._deadline = deadline
        self._since = time.monotonic()
        self._bytes = 0

    def note(self, received: int) -> None:
        """Count received bytes.

        Raises:
            TransientError: when the transfer is too slow or past its deadline (monotonic clock).
        """
        now = time.monotonic()
        self._bytes += received
        if now > self._deadline:
            raise TransientError(f"not complete after {self._patience.deadline_seconds:g} s")
        elapsed = now - self._since
        if elapsed < self._patience.stall_seconds:
            return
        if self._bytes < self._patience.minimum_bytes_per_second * elapsed:
            raise TransientError(
                f"a trickle of {self._bytes / elapsed:.0f} bytes/s over {elapsed:.0f} s, "
                f"at least {self._patience.minimum_bytes_per_second:.0f} are needed"
            )
        self._since, self._bytes = now, 0

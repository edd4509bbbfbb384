"""Retries and time limits of requests to a source over HTTP."""

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
        first_wait_seconds: Maximum wait before the second attempt; doubled for each further one.
        longest_wait_seconds: Maximum wait between two attempts, whatever ``Retry-After`` says.
        stall_seconds: Maximum time without data, and the interval over which speed is measured.
        minimum_bytes_per_second: A slower transfer is aborted and retried.
        deadline_seconds: Maximum time for one file, all attempts together; exceeded by one
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
    """A failure of one attempt that is worth a retry.

    Args:
        retry_after_seconds: The server's ``Retry-After``; 0 without one.
    """

    def __init__(self, reason: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


def retry(
    attempt: Callable[[], Result],
    retry_policy: HttpRetryPolicy,
    what: str,
    give_up: Event | None = None,
) -> Result:
    """Call ``attempt`` until it succeeds, with exponential backoff, within the limits.

    Args:
        attempt: Raises TransientError to be retried; any other exception is passed on.
        give_up: Once set, by another thread, there is no further attempt.

    Raises:
        SourceUnavailable: The limits are reached.
    """
    cancelled = give_up or Event()
    backoff = wait_exponential(multiplier=retry_policy.first_wait_seconds)

    def wait(state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome is not None else None
        retry_after = failure.retry_after_seconds if isinstance(failure, TransientError) else 0.0
        # Jitter: clients whose connections broke at the same time do not retry at the same time.
        jittered = backoff(state) * random.uniform(0.5, 1.0)
        return min(max(jittered, retry_after), retry_policy.longest_wait_seconds)

    def fail(state: RetryCallState) -> NoReturn:
        failure = state.outcome.exception() if state.outcome is not None else None
        attempts = f"{state.attempt_number} attempt{'' if state.attempt_number == 1 else 's'}"
        raise SourceUnavailable(
            f"{what}: failed after {attempts} in {state.seconds_since_start:.0f} s, last with "
            f"{failure}; {OTHER_SOURCES}"
        ) from failure

    def pause(state: RetryCallState) -> None:
        if cancelled.wait(state.upcoming_sleep):
            fail(state)

    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        wait=wait,
        stop=stop_after_attempt(retry_policy.attempts)
        | stop_before_delay(retry_policy.deadline_seconds),
        # Waits here and not in ``sleep``, after which tenacity always makes another attempt.
        before_sleep=pause,
        sleep=lambda _: None,
        retry_error_callback=fail,
    )
    return retrying(attempt)


class ThroughputGuard:
    """Aborts a transfer that is too slow.

    A socket's time-out is not enough: each chunk restarts it, so that a byte a second could go on
    for weeks.

    Args:
        retry_policy: Minimum speed and the interval over which it is measured.
        deadline: End of the transfer, monotonic clock.
    """

    def __init__(self, retry_policy: HttpRetryPolicy, deadline: float) -> None:
        self._retry_policy = retry_policy
        self._deadline = deadline
        self._since = time.monotonic()
        self._bytes = 0

    def add(self, received: int) -> None:
        """Count received bytes.

        Raises:
            TransientError: The transfer is too slow or past its deadline.
        """
        now = time.monotonic()
        self._bytes += received
        if now > self._deadline:
            raise TransientError(f"not complete after {self._retry_policy.deadline_seconds:g} s")
        elapsed = now - self._since
        if elapsed < self._retry_policy.stall_seconds:
            return
        if self._bytes < self._retry_policy.minimum_bytes_per_second * elapsed:
            raise TransientError(
                f"only {self._bytes / elapsed:.0f} bytes/s over {elapsed:.0f} s (minimum "
                f"{self._retry_policy.minimum_bytes_per_second:.0f})"
            )
        self._since, self._bytes = now, 0

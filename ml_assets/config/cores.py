"""Cores, threads and processor time of a fit, beside which another may run in the same process."""

import contextlib
import contextvars
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

_T = TypeVar("_T")

_POLL_SECONDS: Final = 0.1
"""Interval at which an interrupt is noticed while a thread is waited for."""

_BEGIN_SECONDS: Final = 1.0
"""Time in which a thread that was started begins."""

_lock = threading.Lock()
_begun: dict[int, float] = {}  # the thread time at which each thread entered on_one_core
_past = 0.0  # seconds of the threads that have left it


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(n_jobs: int) -> int:
    """Return ``n_jobs`` as a number of threads; -1 means every core of this process.

    Raises:
        ValueError: ``n_jobs`` is 0 or below -1.
    """
    if n_jobs == -1:
        return available_cores()
    if n_jobs < 1:
        raise ValueError(f"n_jobs is {n_jobs}: must be 1 or more, or -1 for every core")
    return n_jobs


def free_cores() -> int:
    """Return the number of cores that the caller may keep busy: 1 inside :func:`on_one_core`."""
    with _lock:
        return 1 if threading.get_ident() in _begun else available_cores()


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """Account the block's processor time to this thread, and to nobody else's work.

    What the block does in further threads (Polars reads files in some) counts as others' work.
    """
    global _past
    thread, begun = threading.get_ident(), time.thread_time()
    with _lock:
        _begun[thread] = begun
    try:
        yield
    finally:
        with _lock:
            _past += time.thread_time() - _begun.pop(thread)


def processor_seconds() -> float:
    """Return a processor time whose differences are the cost of the caller's work.

    Inside :func:`on_one_core` it is the time of the thread, elsewhere that of all threads of the
    process but those. Where the system does not tell the time of another thread (macOS), theirs
    counts, too.
    """
    with _lock:
        if threading.get_ident() in _begun:
            return time.thread_time()
        if not hasattr(time, "pthread_getcpuclockid"):
            return time.process_time()
        inside = sum(
            time.clock_gettime(time.pthread_getcpuclockid(thread)) - begun
            for thread, begun in _begun.items()
        )
        return time.process_time() - _past - inside


def call_uninterrupted(function: Callable[[], _T], stop: Callable[[], None] | None = None) -> _T:
    """Call a function in a thread of its own, and raise an interrupt only after it has ended.

    For C libraries that call Python functions: Python drops an exception that arrives in one, and
    the library goes on without what the function would have done. No interrupt (Ctrl-C, or that of
    a run's step) reaches the function's thread.

    Args:
        function: Its result is returned, and its exception is raised.
        stop: Called on an interrupt, so that the function ends early with any exception.
    """
    results: list[_T] = []
    errors: list[BaseException] = []
    begun, running = threading.Event(), threading.Lock()

    def run() -> None:
        begun.set()
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)
        finally:
            running.release()

    def wait() -> None:
        while not results and not errors:
            running.acquire(timeout=_POLL_SECONDS)

    running.acquire()
    # Not joined: Python takes a thread for ended whose join was interrupted.
    thread = threading.Thread(target=contextvars.copy_context().run, args=[run])
    try:
        thread.start()
        wait()
    except BaseException:
        if begun.wait(_BEGIN_SECONDS):  # else the interrupt came before the thread's start
            if stop is not None:
                stop()
            while not results and not errors:
                with contextlib.suppress(BaseException):  # the first interrupt is raised
                    wait()
            results.clear()
            errors.clear()
        raise
    if errors:
        raise errors.pop()  # a name or a list would keep its frames, and so the rows, in a cycle
    return results[0]

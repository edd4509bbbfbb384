"""Work in a process of its own that is interrupted before one of its SQL statements."""

import os
import signal
import traceback
from collections.abc import Callable

from sqlalchemy import event
from sqlalchemy.engine import Engine


def begin(work: Callable[[], object]) -> int:
    """Begin this work in a fork of this process; returns the fork's number, for :func:`end`."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # A shell that starts a job in the background has it ignore Ctrl-C.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            work()
            status = 0
        except KeyboardInterrupt:
            status = 130
        finally:
            if status == 1:
                traceback.print_exc()
            os._exit(status)
    return process


def end(process: int) -> int:
    """Wait for the end of a fork; returns its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def in_a_process(work: Callable[[], object]) -> int:
    """Do this work in a fork of this process; returns its exit status, negative for a signal."""
    return end(begin(work))


def count_statements(work: Callable[[], object]) -> int:
    """How many SQL statements this work executes, in a fork of this process."""
    read, write = os.pipe()

    def counted_work() -> None:
        statements = 0

        @event.listens_for(Engine, "before_cursor_execute")
        def count(*_: object) -> None:
            nonlocal statements
            statements += 1

        work()
        os.write(write, str(statements).encode())

    status = in_a_process(counted_work)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert status == 0
        return int(pipe.read())


def interrupted(work: Callable[[], object], statement: int, by: signal.Signals) -> int:
    """Do this work in a process that gets a signal before this statement."""

    def interrupted_work() -> None:
        statements = 0

        @event.listens_for(Engine, "before_cursor_execute")
        def count(*_: object) -> None:
            nonlocal statements
            statements += 1
            if statements == statement:
                signal.raise_signal(by)

        work()

    return in_a_process(interrupted_work)

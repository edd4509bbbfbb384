"""Threads of a fit, and the processor time of work beside which another thread works."""

import ctypes
import threading
import time

import pytest

from ml_assets.config.cores import call_uninterrupted, on_one_core, processor_seconds


def burn(seconds: float) -> float:
    """Use this much time of the thread; return what ``processor_seconds`` says of it."""
    begun, end = processor_seconds(), time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return processor_seconds() - begun


def test_a_single_core_thread_is_accounted_to_itself_and_not_to_the_work_beside_it():
    inside = []
    working = threading.Event()

    def work() -> None:
        with on_one_core():
            working.set()
            inside.append(burn(0.4))

    thread = threading.Thread(target=work)
    begun = processor_seconds()
    thread.start()
    working.wait()
    own = burn(0.2)
    while_both_work = processor_seconds() - begun
    thread.join()
    after = processor_seconds() - begun
    assert 0.4 <= inside[0] < 0.5
    assert 0.2 <= own < 0.3
    assert while_both_work < 0.3 and after < 0.3  # 0.6 with the other thread's


def test_where_the_time_of_a_thread_is_unknown_it_counts_as_everybodys(monkeypatch):
    monkeypatch.delattr(time, "pthread_getcpuclockid")

    def work() -> None:
        with on_one_core():
            burn(0.2)
            measured.wait()

    measured = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    begun = processor_seconds()
    own = burn(0.2)
    measured.set()
    thread.join()
    assert own >= 0.2
    assert processor_seconds() - begun >= own


def test_threads_that_do_not_say_so_count_as_the_callers():
    begun = processor_seconds()
    thread = threading.Thread(target=burn, args=[0.2])
    thread.start()
    thread.join()
    assert processor_seconds() - begun >= 0.2


def test_an_uninterrupted_call_returns_and_raises_what_the_function_does():
    assert call_uninterrupted(lambda: None) is None
    assert call_uninterrupted(threading.get_ident) != threading.get_ident()

    def fail() -> None:
        raise TypeError("no such rows")

    with pytest.raises(TypeError, match="no such rows"):
        call_uninterrupted(fail)


def test_an_interrupt_and_a_second_one_wait_for_the_end_of_the_function():
    started, stopped, finish, ended = (threading.Event() for _ in range(4))
    raised: list[BaseException] = []

    def function() -> None:
        started.set()
        stopped.wait(10)
        finish.wait(20)
        ended.set()

    def call() -> None:
        try:
            call_uninterrupted(function, stop=stopped.set)
        except BaseException as error:  # noqa: BLE001 - looked at below
            raised.append(error)
            assert ended.is_set()

    caller = threading.Thread(target=call)
    caller.start()
    started.wait(10)
    for interrupt in (KeyboardInterrupt, SystemExit):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(caller.ident or 0), ctypes.py_object(interrupt)
        )
        time.sleep(0.25)
    assert caller.is_alive() and not ended.is_set()
    finish.set()
    caller.join(20)
    assert ended.is_set()
    assert [type(error) for error in raised] == [KeyboardInterrupt]

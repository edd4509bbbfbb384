"""Memory of a process: arenas of its threads, and how often unused objects are looked for."""

import os
import subprocess
import sys

import pytest

ARENAS = """
import ctypes, threading
import ml_assets

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.open_memstream.restype = ctypes.c_void_p
libc.open_memstream.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]

together = threading.Barrier(4)
def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()

text, size = ctypes.c_char_p(), ctypes.c_size_t()
stream = libc.open_memstream(ctypes.byref(text), ctypes.byref(size))
libc.malloc_info(0, stream)
libc.fclose(stream)
print(text.value.count(b"<heap nr="))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has arenas")
@pytest.mark.parametrize(("stated", "arenas"), [(None, 1), ("2", 2)])
def test_threads_share_the_arenas_that_the_environment_states(
    stated: str | None, arenas: int
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"}
    if stated is not None:
        environment["MALLOC_ARENA_MAX"] = stated
    ran = subprocess.run(
        [sys.executable, "-c", ARENAS], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == str(arenas)


COLLECTOR = """
import gc
{first}
before = gc.get_threshold()
import ml_assets
print(gc.get_threshold()[0] - before[0])
"""


@pytest.mark.parametrize(
    "first", ["gc.set_threshold(0)", "gc.set_threshold(90_000)", "gc.disable()"]
)
def test_how_often_unused_objects_are_looked_for_stays_as_it_was_set(first: str) -> None:
    assert _printed(COLLECTOR.format(first=first)) == 0


def test_unused_objects_are_looked_for_less_often_than_by_default() -> None:
    assert _printed(COLLECTOR.format(first="")) > 40_000


def test_what_the_definitions_import_is_not_looked_through_again() -> None:
    assert _printed("import gc, ml_assets.definitions; print(gc.get_freeze_count())") > 100_000


def _printed(code: str) -> int:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(ran.stdout)

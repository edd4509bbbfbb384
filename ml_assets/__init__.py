"""Prediction of New York taxi trip durations: a model in production as an asset graph."""

import ctypes
import gc
import os

# Threads that spin while waiting slow each other down. The variables are read when the libraries
# load, hence here; the user's values have precedence.
# OpenMP: on two shared cores an XGBoost fit took 4 to 20 times as long. Passive waiting costs
# little on an idle machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# OpenBLAS, whose threads always spin: no family spends its time in it, and Materialize all took
# 65 s with one thread and 75 s with two, on two cores. Sums no longer depend on the cores either.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# glibc gives each thread an arena of memory, OpenMP's too, and what one thread freed another does
# not use. `ml-assets run` on the sample peaked at 1.07 GB that way and at 0.80 GB with one arena,
# in the same time. This process needs a call, since its variable has been read already.
_M_ARENA_MAX = -8  # of glibc's malloc.h
if "MALLOC_ARENA_MAX" not in os.environ and hasattr(os, "fork"):
    os.environ["MALLOC_ARENA_MAX"] = "1"  # for child processes
    _mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if _mallopt is not None:  # macOS and musl have none
        _mallopt(_M_ARENA_MAX, 1)

# Python looks for cycles of unused objects after each 700 new ones: a quarter of the 4.5 s of
# processor time in which a run's process imports what trains its models.
_NEW_OBJECTS = 50_000
if gc.isenabled() and 0 < gc.get_threshold()[0] < _NEW_OBJECTS:
    gc.set_threshold(_NEW_OBJECTS, 20, 20)

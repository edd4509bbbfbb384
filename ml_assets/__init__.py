"""Prediction of New York taxi trip durations: a model in production as an asset graph."""

import os

# Threads that spin while waiting slow each other down. The variables are read when the libraries
# load, hence here; the user's values have precedence.
# OpenMP: on two shared cores an XGBoost fit took 4 to 20 times as long. Passive waiting costs
# little on an idle machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# OpenBLAS, whose threads always spin: no family spends its time in it, and Materialize all took
# 65 s with one thread and 75 s with two, on two cores. Sums no longer depend on the cores either.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

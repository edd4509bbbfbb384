"""Prediction of New York taxi trip durations: a model in production as an asset graph."""

import os

# OpenMP threads that spin while waiting slow each other down on a busy machine: on two shared cores
# an XGBoost fit took 4 to 20 times as long. Passive waiting costs little on an idle machine. The
# variable is read when the first OpenMP library loads, hence here; the user's value has precedence.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

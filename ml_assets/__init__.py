"""Predict how long a New York taxi trip takes: a model in production as an asset graph."""

import os

# OpenMP threads that wait by spinning stop each other on a busy machine: on two cores shared with
# other work an XGBoost fit took 4 to 20 times as long. Sleeping costs little on an idle one. Read
# once, when the first library with OpenMP loads, so it has to stand here; the user's value wins.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

"""The latency of a fitted pipeline for one request, as in the service."""

import time

from sklearn.pipeline import Pipeline

from ml_assets.pipeline.fingerprint import probe_requests
from ml_assets.trips.request_columns import REQUEST_COLUMNS

MAX_MILLISECONDS = 50.0
"""The families take 0.3 to 2.5 ms on two cores. Users notice a tenth of a second (Nielsen,
*Usability Engineering*, 1993, chapter 5); half of it is left for everything else."""

_REPEATS = 30


def measure_latency_ms(pipeline: Pipeline) -> float:
    """Return the wall time of one request in milliseconds: the minimum of several, after a warm-up.

    The minimum excludes the delays caused by other load of the machine.
    """
    requests = probe_requests()
    columns = {name: requests[name].to_numpy() for name in REQUEST_COLUMNS}
    singles = [
        {name: column[at : at + 1] for name, column in columns.items()}
        for at in range(len(requests))
    ]
    pipeline.predict(singles[0])
    taken = []
    for number in range(_REPEATS):
        begun = time.perf_counter()
        pipeline.predict(singles[number % len(singles)])
        taken.append(time.perf_counter() - begun)
    return 1000 * min(taken)

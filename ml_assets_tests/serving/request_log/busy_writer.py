"""A process that writes one month repeatedly, with alternating contents.

``python -m ml_assets_tests.serving.request_log.busy_writer HOME ROUNDS`` prints "ready" after its
first round.
"""

import sys
from pathlib import Path

from ml_assets_tests.storage.stored_months import CONTENTS, MONTH, put_month, store_at


def write(home: Path, rounds: int) -> None:
    store = store_at(home)
    for number in range(rounds):
        put_month(store, MONTH, CONTENTS[number % 2])
        if number == 1:
            sys.stdout.write("ready\n")
            sys.stdout.flush()


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))

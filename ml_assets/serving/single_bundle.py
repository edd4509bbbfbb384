"""``python -m ml_assets.serving.single_bundle``: serve one bundle to the parent process.

A module of its own, because it imports neither MLflow nor what trains: it is up in half a second.
"""

import os
import signal
import socket
import sys
import threading
from pathlib import Path

from ml_assets.serving.server import serve


def main(descriptor: int, home: Path) -> None:
    """Serve on a socket opened by the parent, until the parent ends or closes the pipe.

    Args:
        descriptor: File descriptor of the listening socket.
        home: Folder with the handover of the one bundle, and for the request log.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    listening = socket.socket(fileno=descriptor)
    serve(listening, home, home / "requests", lambda _: None, watch_registry=False)


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

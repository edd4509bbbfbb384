"""The server process: uvicorn on a socket, until a signal ends it.

``python -m ml_assets.serving.server DESCRIPTOR HOME`` serves one bundle to the parent process. It
must import neither MLflow nor what trains, so that it is up in half a second.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI

from ml_assets.config.http_origin import LOOPBACK_HOSTS, AllowedHosts
from ml_assets.config.settings import TOKEN_VARIABLE
from ml_assets.serving.app import create_app
from ml_assets.serving.auth import read_api_token
from ml_assets.serving.bundle import SERVING_FOLDER
from ml_assets.serving.http_limits import BoundedHttpProtocol
from ml_assets.serving.model_provider import POLL_SECONDS, RegistryModelProvider, SupervisedSidecar
from ml_assets.serving.request_log.writer import RequestLog
from ml_assets.serving.state import ModelStatus, Service

WATCHER_MODULE: Final = "ml_assets.registry.watcher"
"""Watches the registry in a separate process, because it needs MLflow."""

GRACE_SECONDS: Final = 20
"""Time to finish requests after a signal: twice as long as a body may take to arrive."""

_SWITCH_SECONDS = 0.0002
"""Interval at which the thread of lists lets a single request run, which it waits for at most;
Python's default is 5 ms."""


def serve(
    listening: socket.socket,
    local_home: Path,
    log_folder: Path,
    announce: Callable[[FastAPI], None],
    hosts: AllowedHosts = LOOPBACK_HOSTS,
    *,
    watch_registry: bool = True,
) -> None:
    """Serve requests until SIGTERM or Ctrl-C, then finish those in progress.

    Args:
        announce: Called when the server is up, and again whenever the status of the model changes,
            until a model is served or the registry has no champion.
        hosts: Host names of the service, checked when there is no token.
        watch_registry: Whether to follow the registry's champion; otherwise the version that was
            handed over is served to the end.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("ml_assets").setLevel(logging.INFO)
    sys.setswitchinterval(_SWITCH_SECONDS)
    token = read_api_token(os.environ)
    variables = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    watcher = SupervisedSidecar([sys.executable, "-m", WATCHER_MODULE], variables)
    models = RegistryModelProvider(local_home / SERVING_FOLDER, watcher if watch_registry else None)
    app = create_app(models, token=token, hosts=hosts, log=RequestLog(log_folder))
    config = uvicorn.Config(
        app,
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # Without a token the client's address decides, and proxy headers could forge it.
        proxy_headers=token is not None,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = _Server(config, app.state.service, lambda: announce(app))
    # uvicorn raises the signals that it has caught again at the end: ignore them then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.request_exit)
    server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """Announces that it is up, and with which model."""

    def __init__(
        self, config: uvicorn.Config, service: Service, announce: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._service, self._announce = service, announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()
        self._announcing = asyncio.create_task(self._announce_changes(self._service.model_status))

    async def _announce_changes(self, announced: ModelStatus) -> None:
        while announced not in (ModelStatus.SERVING, ModelStatus.NO_CHAMPION):
            await asyncio.sleep(POLL_SECONDS)
            status = self._service.model_status
            if status not in (announced, ModelStatus.UNKNOWN):
                announced = status
                self._announce()

    def request_exit(self, number: int, frame: object) -> None:
        self.should_exit = True


def serve_to_parent(descriptor: int, home: Path) -> None:
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
    serve_to_parent(int(sys.argv[1]), Path(sys.argv[2]))

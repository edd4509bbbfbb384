"""The service as a process: uvicorn on a socket, until a signal ends it."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI

from ml_assets.config.http_origin import LOOPBACK_HOSTS, KnownHosts
from ml_assets.config.settings import TOKEN_VARIABLE
from ml_assets.serving.app import create_app
from ml_assets.serving.auth import read_api_token
from ml_assets.serving.handover import SERVING_FOLDER
from ml_assets.serving.http_limits import BoundedHttpProtocol
from ml_assets.serving.model_provider import LOOK_SECONDS, RegistryModelProvider
from ml_assets.serving.request_log.writer import RequestLog
from ml_assets.serving.state import Outlook, Service
from ml_assets.serving.supervisor import SupervisedSidecar

WATCH: Final = "ml_assets.registry.watcher"
"""The module that watches the registry, in a process of its own since it needs MLflow."""

GRACE_SECONDS: Final = 20
"""For requests under way when a signal comes: twice what a body may take to arrive."""

_SWITCH_SECONDS = 0.001
"""A list that is worked on in a thread gives way to single requests after so long (Python's own
interval is five times that, which each of them would have to wait)."""


def serve(
    listening: socket.socket,
    local_home: Path,
    log_folder: Path,
    announce: Callable[[FastAPI], None],
    hosts: KnownHosts = LOOPBACK_HOSTS,
) -> None:
    """Answer requests until SIGTERM or Ctrl-C, then finish those under way.

    Args:
        listening: Bound.
        local_home: Where champions are handed over.
        log_folder: Where answers are kept.
        announce: Called once requests are answered, and again when more is known of the model, up
            to which serves or that there is none.
        hosts: Names of the service, for when there is no token.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("ml_assets").setLevel(logging.INFO)
    sys.setswitchinterval(_SWITCH_SECONDS)
    token = read_api_token(os.environ)
    variables = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    watch = SupervisedSidecar([sys.executable, "-m", WATCH], variables)
    models = RegistryModelProvider(local_home / SERVING_FOLDER, watch)
    app = create_app(models, token=token, hosts=hosts, log=RequestLog(log_folder))
    config = uvicorn.Config(
        app,
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # Without a token a client's address decides, which nobody may make up.
        proxy_headers=token is not None,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = _Server(config, app.state.service, lambda: announce(app))
    # uvicorn raises what it has caught again when it is done: it has been heard by then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.end)
    server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """Announces that it answers, and with which model."""

    def __init__(
        self, config: uvicorn.Config, service: Service, announce: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._service, self._announce = service, announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()
        self._announcing = asyncio.create_task(self._announce_changes(self._service.outlook))

    async def _announce_changes(self, announced: Outlook) -> None:
        while announced not in (Outlook.SERVING, Outlook.NO_CHAMPION):
            await asyncio.sleep(LOOK_SECONDS)
            outlook = self._service.outlook
            if outlook not in (announced, Outlook.UNKNOWN):
                announced = outlook
                self._announce()

    def end(self, number: int, frame: object) -> None:
        self.should_exit = True

"""``ml-assets serve``: the prediction service."""

import os
import socket
from typing import TYPE_CHECKING

import click

from ml_assets.config.http_origin import is_loopback, server_hosts, server_url
from ml_assets.config.settings import TOKEN_VARIABLE, read_settings
from ml_assets.serving.auth import read_api_token
from ml_assets.serving.request_log.files import FOLDER

if TYPE_CHECKING:
    from fastapi import FastAPI


@click.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    help="Port to listen on; 0 for any that is free.",
)
def serve(host: str, port: int) -> None:
    """Serve predictions of the registry's champion over HTTP.

    POST /predict takes a request or a list of them; there is a page at / and API documentation at
    /docs. A new champion is loaded within seconds, without downtime. With ML_ASSETS_API_TOKEN set,
    clients must send it as `Authorization: Bearer`; without it only local clients are served.
    """
    settings = read_settings()
    token = read_api_token(os.environ)
    listening = _listen(host, port)
    bound, bound_port = listening.getsockname()[:2]
    if token is None and not is_loopback(bound):
        click.echo(
            f"warning: without {TOKEN_VARIABLE} only clients on this machine are served", err=True
        )
    from ml_assets.serving.server import serve as run_server

    def announce(app: "FastAPI") -> None:
        click.echo(_announcement(app, server_url(bound, bound_port)))

    hosts = server_hosts(host, settings.allowed_hosts)
    run_server(listening, settings.local_home, settings.local_home / FOLDER, announce, hosts)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on this address.

    Raises:
        click.UsageError: when the address cannot be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        raise unusable_address(error, host, port, "serve") from error
    return listening


def unusable_address(error: OSError, host: str, port: int, command: str) -> click.UsageError:
    """Return the error for an address on which a command cannot listen."""
    other = port % 65535 + 1
    return click.UsageError(
        f"--host {host} --port {port} cannot be used ({error.strerror}): choose another with "
        f"--port, for example --port {other} (`make {command} PORT={other}`)"
    )


def _announcement(app: "FastAPI", url: str) -> str:
    """Return a line with the URLs of page, docs and model."""
    service = app.state.service
    served, status = service.models.model, service.model_status
    if served is None:
        problem = service.models.registry.problem
        what = status.value if problem is None else f"{status.value} ({problem})"
    else:
        trips = " on the synthetic sample" if served.card.synthetic else ""
        what = f"Version {served.card.version} ({served.card.model}{trips}) answers"
    return f"{what}: page {url}/ , docs {url}/docs , model {url}/model . Stop with Ctrl-C."

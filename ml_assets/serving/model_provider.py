"""The model of the service: the registry's champion, replaced without downtime.

A sidecar process watches the registry, and is restarted whenever it exits.
"""

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from pydantic import BaseModel, Field

from ml_assets.secrets import error_text
from ml_assets.serving.bundle import (
    CHAMPION_FILE,
    REGISTRY_FILE,
    ChampionManifest,
    JsonFileWatcher,
    RegistryStatus,
    ServedModel,
    UnusableBundle,
    load_bundle,
)
from ml_assets.serving.fast_predict import enable_fast_path

_LOGGER = logging.getLogger(__name__)
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
"""Seconds before a restart: the delay is doubled each time, up to the longest."""

_STEADY_SECONDS = 30.0
"""The delay is reset after a process that ran for this long."""

_END_SECONDS = 3.0


class SupervisedSidecar:
    """Keeps a sidecar process running.

    It exits when its standard input is closed, which happens however the server ends.

    Attributes:
        process: Current process, or the last one; None before the first start.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = command, environment
        self._task: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None

    def start(self) -> None:
        """Start the process, and restart it whenever it exits."""
        self._task = asyncio.create_task(self._keep_running())

    async def stop(self) -> None:
        """End the process and do not restart it."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self.process is None or self.process.returncode is not None:
            return
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), _END_SECONDS)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    async def _keep_running(self) -> None:
        wait = FIRST_WAIT
        while True:
            begun = time.monotonic()
            try:
                await self._run()
            except OSError as error:
                _LOGGER.warning("the registry watcher cannot be started: %s", error)
            if time.monotonic() - begun > _STEADY_SECONDS:
                wait = FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _run(self) -> None:
        # In a separate session: Ctrl-C in a terminal reaches the server, which ends the sidecar.
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env=dict(self._environment),
            start_new_session=True,
        )
        status = await self.process.wait()
        _LOGGER.warning("the registry watcher exited with status %s and is restarted", status)


class RegistryState(BaseModel):
    """State of the registry."""

    reachable: bool = Field(description="Whether it has responded within the last ten seconds")
    last_response_at: datetime | None = Field(
        default=None, description="Time of its last response (UTC)"
    )
    champion_version: str | None = Field(
        default=None, description="Version with the alias `champion`; null without one"
    )
    problem: str | None = Field(
        default=None, description="Why it does not respond, or its champion is not served"
    )


class ModelProvider(Protocol):
    """Provides the current model; each request reads it once."""

    @property
    def model(self) -> ServedModel | None:
        """Version in use; None before there is one."""

    @property
    def registry(self) -> RegistryState:
        """State of the registry."""

    async def start(self) -> None:
        """Load the model if there is one, and watch for changes."""

    async def stop(self) -> None:
        """Stop watching for changes."""


POLL_SECONDS: Final = 0.2
REGISTRY_TIMEOUT: Final = timedelta(seconds=10)
"""A registry that has not responded for this long counts as unreachable."""

RETRY_SECONDS: Final = 30.0
"""Delay before a bundle that could not be loaded is tried again."""


class RegistryModelProvider:
    """Loads each champion that the registry watcher hands over.

    Args:
        folder: Folder of the handover, see ``serving.bundle``.
        sidecar: Registry watcher to run; None: another process watches the registry.
    """

    def __init__(self, folder: Path, sidecar: SupervisedSidecar | None = None) -> None:
        self._folder, self._sidecar = folder, sidecar
        self._champion = JsonFileWatcher(folder / CHAMPION_FILE, ChampionManifest)
        self._registry = JsonFileWatcher(folder / REGISTRY_FILE, RegistryStatus)
        self._started = datetime.now(UTC)
        self._task: asyncio.Task[None] | None = None
        self._loaded: str | None = None
        self._failed: float | None = None
        self._problem: str | None = None
        self._model: ServedModel | None = None

    @property
    def model(self) -> ServedModel | None:
        """Version in use; None before there is one."""
        return self._model

    @property
    def registry(self) -> RegistryState:
        """State of the registry, as its watcher last reported it."""
        status, now = self._registry.value or RegistryStatus(), datetime.now(UTC)
        response_at = status.last_response_at
        # After the clock was set back, the age of the last response is unknown.
        reachable = response_at is not None and abs(now - response_at) < REGISTRY_TIMEOUT
        mismatch = self._version_mismatch(status) if reachable else None
        problems = [self._problem, status.problem, mismatch]
        if not reachable and now - self._started > REGISTRY_TIMEOUT:
            since = "the service started" if response_at is None else f"{response_at:%F %T} UTC"
            problems.append(f"the registry has not answered since {since}")
        return RegistryState(
            reachable=reachable,
            last_response_at=response_at,
            champion_version=status.champion_version,
            problem="; ".join(text for text in problems if text) or None,
        )

    async def start(self) -> None:
        """Load the champion that was handed over last, then watch for changes."""
        await self._poll()
        if self._sidecar is not None:
            self._sidecar.start()
        if self._model is None:
            # Import what loading needs while the watcher makes its first request.
            self._imports = asyncio.create_task(asyncio.to_thread(_preload_imports))
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop watching for changes, and end the registry watcher."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._sidecar is not None:
            await self._sidecar.stop()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._poll()
            except Exception:
                _LOGGER.exception("cannot check for a new champion")

    async def _poll(self) -> None:
        try:
            self._registry.refresh()
            if self._champion.refresh():
                self._failed = None
        except (OSError, ValueError) as error:
            self._set_problem(f"{self._folder} cannot be read ({error_text(error)})")
            return
        manifest = self._champion.value
        if self._champion.damaged:
            return  # already reported
        if manifest is None or manifest.folder == self._loaded:
            self._problem = None
        elif self._failed is None or time.monotonic() - self._failed > RETRY_SECONDS:
            await self._load(manifest)

    async def _load(self, manifest: ChampionManifest) -> None:
        try:
            model = await asyncio.to_thread(load_bundle, self._folder / manifest.folder)
        except UnusableBundle as error:
            self._failed = time.monotonic()
            self._set_problem(f"version {manifest.version} cannot be used: {error}")
            return
        self._model, self._loaded = model, manifest.folder
        self._failed = self._problem = None
        _LOGGER.info("version %s is served", manifest.version)
        # The model serves requests meanwhile, with bit-identical predictions.
        self._warming_up = asyncio.create_task(asyncio.to_thread(_warm_up, model))

    def _set_problem(self, problem: str) -> None:
        if problem != self._problem:
            _LOGGER.warning("%s", problem)
        self._problem = problem

    def _version_mismatch(self, status: RegistryStatus) -> str | None:
        """Why the version in use is not the registry's champion; None if it is."""
        if self._model is None or status.champion_version == self._model.card.version:
            return None
        if status.champion_version is None:
            return (
                f"the registry names no champion: version {self._model.card.version}, the last "
                "one, is still served"
            )
        return f"the registry names version {status.champion_version}, which is being loaded"


def _warm_up(model: ServedModel) -> None:
    """Enable the fast path of a model, and exclude permanent objects from garbage collection.

    The collector would otherwise traverse 200,000 permanent objects whenever a long list is
    parsed, which blocks all requests for 85 ms each time.
    """
    try:
        enable_fast_path(model.model.pipeline)
    except Exception:
        _LOGGER.exception("version %s is served without its fast path", model.card.version)
    gc.unfreeze()  # frees the previous model
    gc.collect()
    gc.freeze()


def _preload_imports() -> None:
    import skops.io  # noqa: F401
    import xgboost  # noqa: F401

    import ml_assets.pipeline.features  # noqa: F401

"""The registry's champion as the service's model, swapped while requests go on."""

import asyncio
import contextlib
import gc
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from pydantic import BaseModel, Field

from ml_assets.secrets import error_text
from ml_assets.serving.bundle import ServedModel, UnusableBundle, load_bundle
from ml_assets.serving.fast_predict import enable_fast_path
from ml_assets.serving.handover import (
    CHAMPION_FILE,
    REGISTRY_FILE,
    ChampionManifest,
    JsonFileWatcher,
    RegistryStatus,
)
from ml_assets.serving.supervisor import SupervisedSidecar


class RegistryState(BaseModel):
    """Whether the registry answers."""

    reachable: bool = Field(description="Whether it has answered within the last ten seconds")
    last_response_at: datetime | None = Field(
        default=None, description="Time of its last response (UTC)"
    )
    champion_version: str | None = Field(
        default=None, description="Version with the alias `champion`; null without one"
    )
    problem: str | None = Field(
        default=None, description="What keeps it, or its champion, from serving"
    )


class ModelSource(Protocol):
    """Gives the model of the moment; a request takes it once."""

    @property
    def model(self) -> ServedModel | None:
        """The version in use; None before there is one."""

    @property
    def registry(self) -> RegistryState:
        """What is known of the registry."""

    async def start(self) -> None:
        """Load what is there, and begin to watch for changes."""

    async def stop(self) -> None:
        """Watch no longer."""


_LOGGER = logging.getLogger(__name__)
LOOK_SECONDS: Final = 0.2
SILENT: Final = timedelta(seconds=10)
"""A registry that has not answered for so long counts as away."""

RETRY_SECONDS: Final = 30.0
"""A bundle that could not be used is tried again after so long."""


class RegistryModelProvider:
    """Takes up each bundle that is handed over; a request under way keeps the model that it took.

    Args:
        folder: Where bundles are handed over, see ``serving.handover``.
        sidecar: Watches the registry and hands them over; None: another process does.
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
        """The version in use."""
        return self._model

    @property
    def registry(self) -> RegistryState:
        """As it was last heard of."""
        note, now = self._registry.note or RegistryStatus(), datetime.now(UTC)
        answered = note.last_response_at
        # A clock that was set back is as good as silence: nobody knows how long ago that was.
        reachable = answered is not None and abs(now - answered) < SILENT
        problems = [
            self._problem,
            note.problem,
            self._version_mismatch(note) if reachable else None,
        ]
        if not reachable and now - self._started > SILENT:
            since = "the service started" if answered is None else f"{answered:%F %T} UTC"
            problems.append(f"the registry has not answered since {since}")
        problem = "; ".join(text for text in problems if text) or None
        return RegistryState(
            reachable=reachable,
            last_response_at=answered,
            champion_version=note.champion_version,
            problem=problem,
        )

    async def start(self) -> None:
        """Load what was handed over before, then watch."""
        await self._look()
        if self._sidecar is not None:
            self._sidecar.start()
        if self._model is None:
            # While the registry is asked for the first time, what loading takes is imported.
            self._imports = asyncio.create_task(asyncio.to_thread(_import_what_loads))
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._sidecar is not None:
            await self._sidecar.stop()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except Exception:
                _LOGGER.exception("the handed over champion could not be looked at")

    async def _look(self) -> None:
        try:
            self._registry.refresh()
            if self._champion.refresh():
                self._failed = None
        except (OSError, ValueError) as error:
            self._set_problem(f"{self._folder} cannot be read ({error_text(error)})")
            return
        note = self._champion.note
        if self._champion.damaged:
            return  # it still is
        if note is None or note.folder == self._loaded:
            self._problem = None
        elif self._failed is None or time.monotonic() - self._failed > RETRY_SECONDS:
            await self._load(note)

    async def _load(self, note: ChampionManifest) -> None:
        try:
            model = await asyncio.to_thread(load_bundle, self._folder / note.folder)
        except UnusableBundle as error:
            self._failed = time.monotonic()
            self._set_problem(f"version {note.version} cannot be used: {error}")
            return
        self._model, self._loaded = model, note.folder
        self._failed = self._problem = None
        _LOGGER.info("version %s serves", note.version)
        # It answers meanwhile, with the same bits.
        self._settling = asyncio.create_task(asyncio.to_thread(_settle, model))

    def _set_problem(self, problem: str) -> None:
        if problem != self._problem:
            _LOGGER.warning("%s", problem)
        self._problem = problem

    def _version_mismatch(self, note: RegistryStatus) -> str | None:
        """What the registry says, when that is not what serves."""
        if self._model is None or note.champion_version == self._model.card.version:
            return None
        if note.champion_version is None:
            return (
                f"the registry names no champion: version {self._model.card.version}, which was "
                "the last, goes on"
            )
        return f"the registry names version {note.champion_version}, which is on its way"


def _settle(model: ServedModel) -> None:
    """Make a model quick for single requests, and keep the garbage collector off what stays.

    It would look through 200,000 objects that are there for good whenever a long list is read, 85
    ms each time, in which nobody is answered.
    """
    try:
        enable_fast_path(model.model.pipeline)
    except Exception:
        _LOGGER.exception("version %s answers more slowly than it might", model.card.version)
    gc.unfreeze()  # the model before may be in there
    gc.collect()
    gc.freeze()


def _import_what_loads() -> None:
    import skops.io  # noqa: F401
    import xgboost  # noqa: F401

    import ml_assets.pipeline.features  # noqa: F401


@dataclass
class FixedModel:
    """One model for good, without any registry: for tests, notebooks and benchmarks.

    Attributes:
        model: The version in use.
        registry: As it is told.
    """

    model: ServedModel | None
    registry: RegistryState = field(default_factory=lambda: RegistryState(reachable=True))

    async def start(self) -> None:
        """There is nothing to load."""

    async def stop(self) -> None:
        """There is nothing to stop."""

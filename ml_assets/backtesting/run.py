"""Rolling-origin backtest: each month judged by what the months just before it taught.

Nothing is tuned: the champion's parameters, each family's last ones (or its defaults, where the
judged month had a say in the last ones) and the baselines are fitted on the same sample of the same
months and judged on the same trips. Boosting has the fixed number of rounds of its parameters.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.backtesting.inputs import (
    BacktestError,
    BacktestModel,
    ChampionParameters,
    Origin,
    SampledMonths,
    backtest_models,
    month_versions,
    origins,
    require_origins,
)
from ml_assets.backtesting.records import (
    BacktestEntry,
    BacktestRecord,
    SkippedOrigin,
)
from ml_assets.config.code_version import model_code_version
from ml_assets.evaluation.metrics import measure
from ml_assets.evaluation.records import ModelRecord
from ml_assets.pipeline.bounded_regressor import BoundedRegressor
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.baselines import BASELINES
from ml_assets.training.families import FAMILIES, family_named
from ml_assets.training.fit import encode_trips, thread_count
from ml_assets.trips.rules import REQUEST_COLUMNS, TARGET

__all__ = [
    "BacktestError",
    "BacktestOptions",
    "BacktestRecord",
    "ChampionParameters",
    "run_backtest",
]

MAX_ROWS = 100_000
"""Yellow has millions of trips a month, and an origin has to end within a minute."""


@dataclass(frozen=True)
class BacktestOptions:
    """How to go about it.

    Attributes:
        train_months: So many months, just before the judged one, train.
        families: Names of those to judge beside the champion and the baselines.
        most_rows: At most so many trips train and at most so many are judged: larger months are
            represented by a random sample that is the same each time.
        seconds: No origin but the first begins later than this after the start; None without a
            limit. The newest months come first.
        seed: Of the samples and the estimators.

    Raises:
        ValueError: when a number is not above 0, or a family is unknown.
    """

    train_months: int = 3
    families: Sequence[str] = field(default_factory=lambda: tuple(FAMILIES))
    most_rows: int = MAX_ROWS
    seconds: float | None = None
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("train_months", "most_rows", "seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}: give more than 0")
        for family in self.families:
            family_named(family)


def run_backtest(
    store: TripStore,
    options: BacktestOptions,
    *,
    champion: ChampionParameters | None = None,
    last: Mapping[str, ModelRecord] | None = None,
    earlier: BacktestRecord | None = None,
    on_origin: Callable[[BacktestRecord], None] | None = None,
) -> BacktestRecord:
    """Judge every stored month that has the months before it.

    Figures of ``earlier`` that stand on the same files, code, parameters and samples are kept. In
    memory are the trips of one origin at a time.

    Args:
        store: Where the months lie.
        options: Window, families, samples, time.
        champion: Of these months' kind; None when nothing serves.
        last: The last model of each family, for its parameters.
        earlier: The backtest before.
        on_origin: Told the backtest so far after each origin that was computed.

    Raises:
        BacktestError: when no month has the months before it, or a model cannot be fitted.
    """
    begun = time.monotonic()
    stamped, refused = month_versions(store)
    found, skipped = origins(sorted(stamped), options.train_months)
    require_origins(store, found, [*skipped, *refused], options.train_months)
    field_of = backtest_models(champion, options.families, last or {})
    months = SampledMonths(store, stamped, options.most_rows, options.seed)
    bench = BacktestRunner(months, field_of)
    known = {entry.inputs: entry for entry in (earlier.entries if earlier else [])}
    entries = {origin: bench.kept(origin, known) for origin in found}
    ledger = _Ledger(store, options, champion, [*skipped, *refused], entries)
    ledger.open = [origin for origin in reversed(found) if len(entries[origin]) < len(field_of)]
    while ledger.open and ledger.in_time(time.monotonic() - begun):
        origin = ledger.open.pop(0)
        before = len(entries[origin])
        entries[origin] = bench.judged(origin, known)
        ledger.computed += len(entries[origin]) - before
        if on_origin is not None:
            on_origin(ledger.record())
    return ledger.record()


@dataclass
class _Ledger:
    """How far the backtest is: entries by origin, in order, and the origins that lack some."""

    store: TripStore
    options: BacktestOptions
    champion: ChampionParameters | None
    skipped: list[SkippedOrigin]
    entries: dict[Origin, list[BacktestEntry]]
    open: list[Origin] = field(default_factory=list)
    computed: int = 0

    def in_time(self, spent: float) -> bool:
        """Whether another origin may begin after so many seconds; the first always may."""
        limit = self.options.seconds
        return self.computed == 0 or limit is None or spent < limit

    def record(self) -> BacktestRecord:
        """The backtest so far."""
        champion = self.champion.version if self.champion else None
        newest = champion.newest_month if champion else None
        return BacktestRecord(
            dataset=self.store.dataset,
            synthetic=self.store.synthetic,
            train_months=self.options.train_months,
            most_rows=self.options.most_rows,
            champion=champion.model if champion else None,
            champion_version=champion.version if champion else None,
            champion_parameters_know=str(newest) if newest else None,
            entries=[entry for of_origin in self.entries.values() for entry in of_origin],
            skipped=self.skipped,
            left=sorted(str(origin.judge) for origin in self.open),
            computed=self.computed,
            families=[*self.options.families],
            seed=self.options.seed,
            code_version=model_code_version(),
        )


class BacktestRunner:
    """Fits and judges all contenders of an origin, except what is known already."""

    def __init__(self, months: SampledMonths, backtest_models: Sequence[BacktestModel]) -> None:
        self._months = months
        self._contenders = backtest_models

    def kept(self, origin: Origin, known: Mapping[str, BacktestEntry]) -> list[BacktestEntry]:
        """The entries of an origin that need no computing, in the order of the contenders."""
        digests = [self._inputs(origin, contender) for contender in self._contenders]
        return [
            _renamed(known[digest], contender, origin)
            for contender, digest in zip(self._contenders, digests, strict=True)
            if digest in known
        ]

    def judged(self, origin: Origin, known: Mapping[str, BacktestEntry]) -> list[BacktestEntry]:
        """All entries of an origin; contenders with the same parameters are fitted once."""
        found = dict(known)
        missing = {
            digest: contender
            for contender in self._contenders
            if (digest := self._inputs(origin, contender)) not in found
        }
        train, judge = self._months.train(origin), self._months.judge(origin)
        for digest, entry in self._fitted(origin, missing, train, judge):
            found[digest] = entry
        return self.kept(origin, found)

    def _inputs(self, origin: Origin, contender: BacktestModel) -> str:
        months = self._months
        return contender.inputs(
            origin.judge,
            [months.stamped[month] for month in (*origin.train, origin.judge)],
            [months.most_rows, months.seed],
        )

    def _fitted(
        self,
        origin: Origin,
        missing: Mapping[str, BacktestModel],
        train: pd.DataFrame,
        judge: pd.DataFrame,
    ) -> Iterator[tuple[str, BacktestEntry]]:
        predictions = _predictions(origin, missing, train, judge, self._months.seed)
        for digest, predicted in predictions:
            yield (
                digest,
                _entry(origin, missing[digest], digest, len(train), judge[TARGET], predicted),
            )


def _predictions(
    origin: Origin,
    missing: Mapping[str, BacktestModel],
    train: pd.DataFrame,
    judge: pd.DataFrame,
    seed: int,
) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """Digest and predicted minutes of each contender, each encoding made once and then let go."""
    requests = list(REQUEST_COLUMNS)
    by_encoder: dict[Any, dict[str, BacktestModel]] = {}
    for digest, contender in missing.items():
        if contender.kind == "baseline":
            baseline: Any = BASELINES[contender.model]()
            yield digest, baseline.fit(train[requests], train[TARGET]).predict(judge[requests])
        else:
            encoder = FAMILIES[contender.family].make_encoder
            by_encoder.setdefault(encoder, {})[digest] = contender
    for group in by_encoder.values():
        encoded = encode_trips(FAMILIES[next(iter(group.values())).family], train, judge)
        for digest, contender in group.items():
            parameters = contender.parameters_for(origin.judge)
            make = FAMILIES[contender.family].make_estimator
            model = BoundedRegressor(make(parameters, seed, thread_count(-1)))
            try:
                model.fit(encoded.train, encoded.train_minutes)
            except (ValueError, TypeError) as error:
                raise BacktestError(
                    f"{contender.family} cannot be fitted for {origin.judge} with {parameters}: "
                    f"{error}"
                ) from error
            yield digest, model.predict(encoded.tune)


def _entry(
    origin: Origin,
    contender: BacktestModel,
    digest: str,
    training_rows: int,
    actual: "pd.Series[float]",
    predicted: npt.NDArray[np.float64],
) -> BacktestEntry:
    figures = measure(actual, predicted)
    deviation = float(actual.std(ddof=0))
    return BacktestEntry(
        month=str(origin.judge),
        model=contender.model,
        kind=contender.kind,
        rmse=figures.rmse,
        mae=figures.mae,
        relative_error=figures.rmse / deviation if deviation > 0 else float("inf"),
        trips=figures.rows,
        mean_predicted=float(predicted.mean()),
        mean_actual=float(actual.mean()),
        trained_on=[str(month) for month in origin.train],
        training_rows=training_rows,
        parameters=contender.origin_of_parameters(origin.judge),
        parameters_saw_month=contender.saw(origin.judge),
        inputs=digest,
    )


def _renamed(entry: BacktestEntry, contender: BacktestModel, origin: Origin) -> BacktestEntry:
    """The same figures, under the name of the contender that they are asked for."""
    return entry.model_copy(
        update={
            "model": contender.model,
            "kind": contender.kind,
            "parameters": contender.origin_of_parameters(origin.judge),
            "parameters_saw_month": contender.saw(origin.judge),
        }
    )

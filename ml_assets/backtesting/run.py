"""Rolling-origin backtest: each month is tested after training on the months just before it.

Nothing is tuned: the champion's parameters, each family's last ones (or its defaults, if the last
ones were chosen with the test month) and the baselines are fitted on the same sample of the same
months and tested on the same trips, with and without their distances. Boosting uses the number of
rounds of its parameters.
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
    Fold,
    SampledMonths,
    backtest_models,
    folds,
    month_versions,
    require_folds,
)
from ml_assets.backtesting.records import (
    MAX_ROWS,
    BacktestEntry,
    BacktestRecord,
    SkippedMonth,
)
from ml_assets.config.code_version import model_code_version
from ml_assets.config.cores import thread_count
from ml_assets.evaluation.metrics import measure, root_mean_squared_error
from ml_assets.evaluation.records import ModelRecord
from ml_assets.pipeline.predict import without_distance
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.baselines import BASELINES
from ml_assets.training.families import FAMILIES, family_named
from ml_assets.training.fit import encode_trips
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

__all__ = [
    "BacktestError",
    "BacktestOptions",
    "BacktestRecord",
    "ChampionParameters",
    "run_backtest",
]


@dataclass(frozen=True)
class BacktestOptions:
    """Options of a backtest.

    Attributes:
        max_rows: Maximum training trips and maximum test trips of a fold; larger months are
            represented by a fixed random sample.
        seconds: Time after which no further fold is started, except the first; None without a
            limit. The newest months come first.
        seed: Seed of the samples and the estimators.

    Raises:
        ValueError: A number is not above 0, or a family is unknown.
    """

    train_months: int = 3
    families: Sequence[str] = field(default_factory=lambda: tuple(FAMILIES))
    max_rows: int = MAX_ROWS
    seconds: float | None = None
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("train_months", "max_rows", "seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}: must be above 0")
        for family in self.families:
            family_named(family)


def run_backtest(
    store: TripStore,
    options: BacktestOptions,
    *,
    champion: ChampionParameters | None = None,
    last: Mapping[str, ModelRecord] | None = None,
    earlier: BacktestRecord | None = None,
    on_fold: Callable[[BacktestRecord], None] | None = None,
) -> BacktestRecord:
    """Test on every stored month whose preceding months are stored, too.

    Entries of ``earlier`` with the same files, code, parameters and samples are reused. The trips
    of one fold are in memory at a time.

    Args:
        champion: Parameters of the champion of this dataset, if there is one.
        last: The last model of each family, for its parameters.
        on_fold: Called with the backtest so far after each computed fold.

    Raises:
        BacktestError: There is no fold, or a model cannot be fitted.
    """
    started = time.monotonic()
    versions, rejected = month_versions(store)
    all_folds, skipped = folds(sorted(versions), options.train_months)
    require_folds(store, all_folds, [*skipped, *rejected], options.train_months)
    models = backtest_models(champion, options.families, last or {})
    months = SampledMonths(store, versions, options.max_rows, options.seed)
    runner = BacktestRunner(months, models)
    known = {entry.inputs: entry for entry in (earlier.entries if earlier else [])}
    entries = {fold: runner.cached(fold, known) for fold in all_folds}
    progress = _Progress(store, options, champion, [*skipped, *rejected], entries)
    progress.pending = [fold for fold in reversed(all_folds) if len(entries[fold]) < len(models)]
    while progress.pending and progress.in_time(time.monotonic() - started):
        fold = progress.pending.pop(0)
        before = len(entries[fold])
        entries[fold] = runner.evaluate(fold, known)
        progress.computed_entries += len(entries[fold]) - before
        if on_fold is not None:
            on_fold(progress.record())
    return progress.record()


@dataclass
class _Progress:
    """Progress of a backtest: entries by fold, in order, and the folds with missing entries."""

    store: TripStore
    options: BacktestOptions
    champion: ChampionParameters | None
    skipped: list[SkippedMonth]
    entries: dict[Fold, list[BacktestEntry]]
    pending: list[Fold] = field(default_factory=list)
    computed_entries: int = 0

    def in_time(self, elapsed: float) -> bool:
        """Whether another fold may start after ``elapsed`` seconds; the first always may."""
        limit = self.options.seconds
        return self.computed_entries == 0 or limit is None or elapsed < limit

    def record(self) -> BacktestRecord:
        """Return the backtest so far."""
        champion = self.champion.version if self.champion else None
        newest = champion.newest_month if champion else None
        return BacktestRecord(
            dataset=self.store.dataset,
            synthetic=self.store.synthetic,
            train_months=self.options.train_months,
            max_rows=self.options.max_rows,
            champion=champion.model if champion else None,
            champion_version=champion.version if champion else None,
            champion_parameters_know=str(newest) if newest else None,
            entries=[entry for of_fold in self.entries.values() for entry in of_fold],
            skipped=self.skipped,
            pending_months=sorted(str(fold.test) for fold in self.pending),
            computed_entries=self.computed_entries,
            families=[*self.options.families],
            seed=self.options.seed,
            code_version=model_code_version(),
        )


class BacktestRunner:
    """Fits and tests the models of a fold, except those with known entries."""

    def __init__(self, months: SampledMonths, models: Sequence[BacktestModel]) -> None:
        self._months = months
        self._models = models

    def cached(self, fold: Fold, known: Mapping[str, BacktestEntry]) -> list[BacktestEntry]:
        """Return the known entries of a fold, in the order of the models."""
        digests = [self._inputs(fold, model) for model in self._models]
        return [
            _relabel(known[digest], model, fold)
            for model, digest in zip(self._models, digests, strict=True)
            if digest in known
        ]

    def evaluate(self, fold: Fold, known: Mapping[str, BacktestEntry]) -> list[BacktestEntry]:
        """Return all entries of a fold; models with the same parameters are fitted once."""
        entries = dict(known)
        missing = {
            digest: model
            for model in self._models
            if (digest := self._inputs(fold, model)) not in entries
        }
        train, test = self._months.train(fold), self._months.test(fold)
        for digest, *modes in _predictions(fold, missing, train, test, self._months.seed):
            entries[digest] = _entry(
                fold, missing[digest], digest, len(train), test[TARGET.name], *modes
            )
        return self.cached(fold, entries)

    def _inputs(self, fold: Fold, model: BacktestModel) -> str:
        months = self._months
        return model.inputs(
            fold.test,
            [months.versions[month] for month in (*fold.train, fold.test)],
            [months.max_rows, months.seed],
        )


def _predictions(
    fold: Fold,
    missing: Mapping[str, BacktestModel],
    train: pd.DataFrame,
    test: pd.DataFrame,
    seed: int,
) -> Iterator[tuple[str, npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Yield digest and predicted minutes of each model; only one encoding is in memory.

    The minutes are with the metered distances, and without distances.
    """
    requests = list(REQUEST_COLUMNS)
    without = without_distance(test)[requests]
    by_encoder: dict[Any, dict[str, BacktestModel]] = {}
    for digest, model in missing.items():
        if model.kind == "baseline":
            baseline: Any = BASELINES[model.model]()
            baseline.fit(train[requests], train[TARGET.name])
            yield digest, baseline.predict(test[requests]), baseline.predict(without)
        else:
            encoder = family_named(model.family).make_encoder
            by_encoder.setdefault(encoder, {})[digest] = model
    for group in by_encoder.values():
        encoded = encode_trips(family_named(next(iter(group.values())).family), train, test)
        for digest, model in group.items():
            parameters = model.parameters_for(fold.test)
            family = family_named(model.family)
            regressor = family.make_model(encoded.steps[-1], parameters, seed, thread_count(-1))
            try:
                regressor.fit(encoded.train, encoded.train_minutes)
            except (ValueError, TypeError) as error:
                raise BacktestError(
                    f"{model.family} cannot be fitted for {fold.test} with {parameters}: {error}"
                ) from error
            if regressor.has_two_regressors:
                yield digest, *regressor.predict_modes(encoded.validation)
            else:
                usual = regressor.predict(encoded.steps.transform(without))
                yield digest, regressor.predict(encoded.validation), usual


def _entry(
    fold: Fold,
    model: BacktestModel,
    digest: str,
    training_rows: int,
    actual: "pd.Series[float]",
    predicted: npt.NDArray[np.float64],
    predicted_usual: npt.NDArray[np.float64],
) -> BacktestEntry:
    figures = measure(actual, predicted)
    deviation = float(actual.std(ddof=0))
    return BacktestEntry(
        month=str(fold.test),
        model=model.model,
        kind=model.kind,
        rmse=figures.rmse,
        mae=figures.mae,
        relative_error=figures.rmse / deviation if deviation > 0 else float("inf"),
        rmse_usual=root_mean_squared_error(actual, predicted_usual),
        trips=figures.rows,
        mean_predicted=float(predicted.mean()),
        mean_actual=float(actual.mean()),
        trained_on=[str(month) for month in fold.train],
        training_rows=training_rows,
        parameters=model.parameter_source(fold.test),
        parameters_saw_month=model.leaked(fold.test),
        inputs=digest,
    )


def _relabel(entry: BacktestEntry, model: BacktestModel, fold: Fold) -> BacktestEntry:
    """Return a reused entry under the name of this model."""
    return entry.model_copy(
        update={
            "model": model.model,
            "kind": model.kind,
            "parameters": model.parameter_source(fold.test),
            "parameters_saw_month": model.leaked(fold.test),
        }
    )

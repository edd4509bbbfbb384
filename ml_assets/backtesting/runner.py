"""The fits of a backtest: every contender of an origin, fitted on the same trips and judged."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ml_assets.backtesting.inputs import BacktestError, Contender, Origin, SampledMonths
from ml_assets.backtesting.records import BacktestEntry
from ml_assets.training.families import FAMILIES
from ml_assets.trips.rules import REQUEST_COLUMNS, TARGET

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd


class Bench:
    """Fits and judges all contenders of an origin, except what is known already."""

    def __init__(self, months: SampledMonths, contenders: Sequence[Contender]) -> None:
        self._months = months
        self._contenders = contenders

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

    def _inputs(self, origin: Origin, contender: Contender) -> str:
        months = self._months
        return contender.inputs(
            origin.judge,
            [months.stamped[month] for month in (*origin.train, origin.judge)],
            [months.most_rows, months.seed],
        )

    def _fitted(
        self,
        origin: Origin,
        missing: Mapping[str, Contender],
        train: "pd.DataFrame",
        judge: "pd.DataFrame",
    ) -> Iterator[tuple[str, BacktestEntry]]:
        predictions = _predictions(origin, missing, train, judge, self._months.seed)
        for digest, predicted in predictions:
            yield (
                digest,
                _entry(origin, missing[digest], digest, len(train), judge[TARGET], predicted),
            )


def _predictions(
    origin: Origin,
    missing: Mapping[str, Contender],
    train: "pd.DataFrame",
    judge: "pd.DataFrame",
    seed: int,
) -> "Iterator[tuple[str, npt.NDArray[np.float64]]]":
    """Digest and predicted minutes of each contender, each encoding made once and then let go."""
    from ml_assets.pipeline.bounded_regressor import BoundedRegressor
    from ml_assets.training.baselines import BASELINES
    from ml_assets.training.fit import encode_trips, thread_count

    requests = list(REQUEST_COLUMNS)
    by_encoder: dict[Any, dict[str, Contender]] = {}
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
    contender: Contender,
    digest: str,
    training_rows: int,
    actual: "pd.Series[float]",
    predicted: "npt.NDArray[np.float64]",
) -> BacktestEntry:
    from ml_assets.evaluation.metrics import measure

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


def _renamed(entry: BacktestEntry, contender: Contender, origin: Origin) -> BacktestEntry:
    """The same figures, under the name of the contender that they are asked for."""
    return entry.model_copy(
        update={
            "model": contender.model,
            "kind": contender.kind,
            "parameters": contender.origin_of_parameters(origin.judge),
            "parameters_saw_month": contender.saw(origin.judge),
        }
    )

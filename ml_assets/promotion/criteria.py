"""The criteria of a promotion, each with its measured value and its limit."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sklearn.pipeline import Pipeline

from ml_assets.evaluation.decision_record import Criterion
from ml_assets.evaluation.records import Leaderboard, ModelRecord, TrainingSet
from ml_assets.monitoring.online.request_mix import ModePredictions, RequestMix
from ml_assets.pipeline.serialization import probe_requests
from ml_assets.promotion.paired_bootstrap import PairedDifference
from ml_assets.promotion.slice_guardrails import (
    TOLERANCE,
    ModeComparison,
    SliceComparison,
    SliceGuardrail,
)
from ml_assets.storage.model_version import ModelVersion
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

MAX_MILLISECONDS = 50.0
"""The families take 0.3 to 2.5 ms on two cores. Users notice a tenth of a second (Nielsen,
*Usability Engineering*, 1993, chapter 5); half of it is left for everything else."""

_REPEATS = 30


@dataclass(frozen=True)
class ChampionEvaluation:
    """The champion, evaluated on the test month of the candidates.

    Attributes:
        trained_on_test_month: Whether it was fitted or tuned on that month.
        predicted: Its predictions for that month; None when it was not scored.
        scoring_error: Why it cannot be scored; None when it was, or was trained on another dataset.
    """

    version: ModelVersion
    trained_on_test_month: bool = False
    predicted: ModePredictions | None = None
    scoring_error: str | None = None

    def __str__(self) -> str:
        return f"the champion ({self.version})"


@dataclass(frozen=True)
class PromotionLimits:
    """Limits of the criteria.

    Attributes:
        confidence: Confidence level of the paired bootstrap, between 0 and 1.
        min_improvement: Minutes of RMSE that the lower limit of the improvement has to exceed.
        from_backtest: Whether that minimum was measured by the backtest.
        requests: How many requests state their distance, which weighs the errors.
        mode_tolerance: Share by which the RMSE may rise in either mode.
        max_latency_ms: Maximum time of one request, milliseconds.
    """

    confidence: float = 0.95
    min_improvement: float = 0.0
    from_backtest: bool = False
    requests: RequestMix = field(default_factory=RequestMix)
    mode_tolerance: float = TOLERANCE
    guard: SliceGuardrail = field(default_factory=SliceGuardrail)
    max_latency_ms: float = MAX_MILLISECONDS


def beats_baselines(row: ModelRecord, board: Leaderboard, requests: RequestMix) -> Criterion:
    """The candidate's RMSE on requests of the test month is below that of every baseline."""
    if not board.baselines:
        return Criterion(name="beats_baselines", passed=False, finding="no baseline was evaluated")
    value = row.request_rmse(requests.share_stated)
    best = min(board.baselines, key=lambda row: row.request_rmse(requests.share_stated))
    limit = best.request_rmse(requests.share_stated)
    passed = value < limit
    finding = (
        f"{row.model} {value:.3f} against {limit:.3f} of the best baseline, {best.model}, on "
        f"{board.test_month} ({requests})"
    )
    if not passed:
        finding += ": see the data checks before training again"
    return Criterion(
        name="beats_baselines",
        passed=passed,
        finding=finding,
        value=value,
        limit=limit,
    )


def passes_check(name: str, finding: Finding) -> Criterion:
    """The candidate passes one of the model checks."""
    return Criterion(
        name=f"check: {name}",
        passed=finding.verdict < Verdict.WARN,
        finding=finding.sentence,
        value=finding.value,
        limit=finding.upper,
    )


def measure_latency_ms(pipeline: Pipeline) -> float:
    """Return the wall time of one request in milliseconds: the minimum of several, after a warm-up.

    The minimum excludes the delays caused by other load of the machine.
    """
    requests = probe_requests()
    columns = {name: requests[name].to_numpy() for name in REQUEST_COLUMNS}
    singles = [
        {name: column[at : at + 1] for name, column in columns.items()}
        for at in range(len(requests))
    ]
    pipeline.predict(singles[0])
    taken = []
    for number in range(_REPEATS):
        begun = time.perf_counter()
        pipeline.predict(singles[number % len(singles)])
        taken.append(time.perf_counter() - begun)
    return 1000 * min(taken)


def meets_latency(milliseconds: float, limits: PromotionLimits) -> Criterion:
    """One request takes no longer than the limit."""
    limit = limits.max_latency_ms
    return Criterion(
        name="latency",
        passed=milliseconds <= limit,
        finding=f"one request takes {milliseconds:.1f} ms, at most {limit:g} ms are allowed",
        value=milliseconds,
        limit=limit,
    )


def same_dataset(
    model: str, dataset: str, champion: ChampionEvaluation, replace: bool
) -> Criterion:
    """The champion is of the same dataset, or may be replaced by a model of another one."""
    trips = champion.version.dataset or "unknown trips"
    other = f"{champion} was trained on {trips}, not on {dataset}"
    if champion.version.synthetic:
        passed, finding = (
            True,
            f"{other}; a champion trained on the synthetic sample may be replaced",
        )
    elif replace:
        passed, finding = True, f"{other}; replace_other_dataset allows {model} to replace it"
    else:
        passed, finding = (
            False,
            f"{other}, so {model} does not replace it: use a separate registry for {dataset} "
            "(another ML_ASSETS_HOME or MLFLOW_TRACKING_URI), or set `replace_other_dataset: true` "
            "in champion_model's config",
        )
    return Criterion(name="same_dataset", passed=passed, finding=finding)


def newer_than_override(
    training_set: TrainingSet, champion: ChampionEvaluation
) -> Criterion | None:
    """A manual promotion is not undone on the data that it was made on.

    Returns:
        None when the champion was not promoted manually.
    """
    override = champion.version.manual_override
    if override is None:
        return None
    tested = [use for use in training_set.months if use.role == "test"]
    passed = override.expired((use.month, use.raw_sha256) for use in tested)
    promoted = f"{champion} was promoted manually ({override.kind}: {override.reason})"
    finding = (
        f"{promoted}, and this training is evaluated on newer data"
        if passed
        else f"{promoted}, and no month after {override.test_month} has been added since"
    )
    return Criterion(name="newer_than_manual_override", passed=passed, finding=finding)


def fair_comparison(model: str, board: Leaderboard, champion: ChampionEvaluation) -> Criterion:
    """The candidate was not tuned on the test month, unless the champion was trained on it."""
    biased = board.caveat is not None and not champion.trained_on_test_month
    if biased:
        finding = (
            f"{model} was tuned on {board.test_month} and the champion was not, so its error is "
            "optimistic: a third month is needed"
        )
    elif champion.trained_on_test_month:
        finding = f"{champion} was fitted or tuned on {board.test_month}: its error is optimistic"
    else:
        finding = f"neither model was fitted or tuned on {board.test_month}"
    return Criterion(name="fair_comparison", passed=not biased, finding=finding)


def significant_improvement(
    difference: PairedDifference, limits: PromotionLimits, model: str, month: str
) -> Criterion:
    """The lower confidence limit of the improvement exceeds the required minimum."""
    passed = difference.lower_bound > limits.min_improvement
    required = f"more than {limits.min_improvement:.3g} min is required"
    direction = "worse" if difference.improvement < 0 else "better"
    if limits.from_backtest:
        required += ", the month-to-month noise of a lead in the backtest"
    return Criterion(
        name="significant_improvement",
        passed=passed,
        finding=(
            f"{model} {difference.challenger_rmse:.3f} against {difference.champion_rmse:.3f} on "
            f"{difference.trips:,} trips of {month} ({limits.requests}): {direction} by "
            f"{abs(difference.improvement):.3f} min; with {difference.confidence:.0%} confidence "
            f"the improvement is at least {difference.lower_bound:.3f} {TARGET.symbol} ({required})"
        ),
        value=difference.lower_bound,
        limit=limits.min_improvement,
    )


def mode_guardrails_hold(modes: Sequence[ModeComparison], tolerance: float) -> list[Criterion]:
    """Neither mode gets worse by more than the tolerance; one criterion per mode."""
    return [
        Criterion(
            name=f"mode_guardrail: {mode.mode}",
            passed=mode.change <= tolerance,
            finding=f"{mode}, at most {tolerance:+.1%}",
            value=mode.change,
            limit=tolerance,
        )
        for mode in modes
    ]


def slice_guardrails_hold(changes: Sequence[SliceComparison]) -> list[Criterion]:
    """No slice gets worse in either mode by more than its tolerance; one criterion per slice."""
    return [
        Criterion(
            name=f"slice_guardrail: {change.slice}",
            passed=change.change <= change.tolerance,
            finding=(
                f"{' and '.join(map(str, change.modes))} on {change.trips:,} trips, at most "
                f"{change.tolerance:+.1%}"
            ),
            value=change.change,
            limit=change.tolerance,
        )
        for change in changes
    ]

"""Manual promotion: roll back to an earlier champion, or promote a version by number.

The version is checked before the alias moves, the decision is recorded like any other, and it
stands until a training is evaluated on newer data.
"""

import uuid
from datetime import UTC, datetime
from typing import Literal

from mlflow.exceptions import MlflowException

from ml_assets.config.code_version import model_code_version
from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.model_checks import predictions_in_range
from ml_assets.pipeline.serialization import probe_predictions
from ml_assets.promotion import OverrideRejected
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.evaluate import describe_decision
from ml_assets.promotion.promote import version_fields
from ml_assets.registry.loading import load_verified
from ml_assets.registry.registry import PREVIOUS, Registry
from ml_assets.secrets import error_text
from ml_assets.storage.model_version import MANUAL_OVERRIDE, ManualOverride, ModelVersion
from ml_assets.trips.quality.finding import Verdict

Kind = Literal["rollback", "override"]


def override_champion(
    registry: Registry,
    log: DecisionLog,
    *,
    kind: Kind,
    version: str | None,
    reason: str,
    dagster_run_id: str = "",
) -> ChampionDecision:
    """Promote a version by hand; return the decision, applied and recorded.

    Args:
        log: Decision log; its latest training has the data known at the time of the choice.
        kind: ``rollback`` (to the previous champion, unless a version is given) or ``override``.
        version: Version number; None for the previous champion, with a rollback.

    Raises:
        OverrideRejected: The version does not exist, is the champion already, or is not servable.
        ConcurrentPromotion: Another process moved the alias in the meantime.
    """
    registry.repair_aliases()
    serving = registry.champion()
    log.mark_applied(None if serving is None else serving.version)
    target = require_possible(registry, log.dataset, version)
    override = _override(log, kind, reason)
    decision = _decision(kind, serving, target, override, dagster_run_id)
    log.write(decision.model_copy(update={"applied": False}))
    version, outcome, reason = target.version, decision.kind, decision.reason
    describe_decision(registry, version, decision, outcome, reason, [])
    registry.tag(version, MANUAL_OVERRIDE, override.model_dump_json())
    registry.promote(version, expected_current=None if serving is None else serving.version)
    log.write(decision)
    return decision


def require_possible(registry: Registry, dataset: str, version: str | None) -> ModelVersion:
    """Return the registered version if it can be promoted, without changing anything.

    Args:
        dataset: The dataset of the current settings.
        version: Version number; None for the previous champion.

    Raises:
        OverrideRejected: The version does not exist, is the champion already, or is not servable.
    """
    serving = registry.champion()
    _require_same_trips(serving, dataset)
    target = _target(registry, version, serving, dataset)
    _require_servable(registry.name, target)
    return target


def _require_same_trips(serving: ModelVersion | None, dataset: str) -> None:
    """Check that a champion of real trips is only replaced by a version of the same dataset."""
    if serving is None or serving.synthetic or not serving.dataset:
        return
    if serving.dataset != dataset:
        raise OverrideRejected(
            f"the champion, version {serving.version}, was trained on {serving.dataset}, and the "
            f"current settings are of {dataset}: set ML_ASSETS_TRIPS and ML_ASSETS_TAXI as they "
            "were when it was trained"
        )


def _target(
    registry: Registry, version: str | None, serving: ModelVersion | None, dataset: str
) -> ModelVersion:
    """Find the version to promote; the previous champion without a number."""
    name = registry.name
    if version is None:
        if serving is None:
            raise OverrideRejected(
                f"there is nothing to roll back from: {registry.explain_missing_champion()}"
            )
        found = registry.get(PREVIOUS)
        if found is None and not _others(registry, dataset):
            raise OverrideRejected(
                f"there is nothing to roll back to: version {serving.version} of {name} is the "
                f"only one of {dataset}; train another with `ml-assets run`"
            )
        if found is None:
            raise OverrideRejected(
                f"no version served before version {serving.version} of {name}, or it was deleted: "
                f"{_choose(registry, dataset)}"
            )
    else:
        found = _numbered(registry, version)
        if found is None:
            raise OverrideRejected(f"{name} has no version {version}: {_choose(registry, dataset)}")
    if serving is not None and found.version == serving.version:
        raise OverrideRejected(f"version {found.version} of {name} serves already")
    if found.dataset != dataset:
        before = ", which served before," if version is None else ""
        raise OverrideRejected(
            f"version {found.version} of {name}{before} was trained on "
            f"{found.dataset or 'unknown trips'}, not on {dataset}: "
            f"{_choose(registry, dataset)}"
        )
    return found


def _numbered(registry: Registry, version: str) -> ModelVersion | None:
    """Return the version with this number; None when there is none, or it is not a number."""
    try:
        return ModelVersion.from_mlflow(registry.client.get_model_version(registry.name, version))
    except MlflowException:
        return None


def _choose(registry: Registry, dataset: str) -> str:
    """List the versions to choose from, with a command if there is another one of this dataset."""
    others = _others(registry, dataset)
    hint = f", with `ml-assets promote {others[-1]}` for example" if others else ""
    return f"choose one of {registry.describe_versions(dataset)}{hint}"


def _others(registry: Registry, dataset: str) -> list[str]:
    """Return the versions of this dataset besides the champion."""
    serving = registry.champion()
    return [
        entry.version
        for entry in registry.versions(dataset)
        if serving is None or entry.version != serving.version
    ]


def _require_servable(name: str, target: ModelVersion) -> None:
    """Load the version as the service would, and check its predictions."""
    try:
        pipeline = load_verified(name, target)
        found = predictions_in_range(probe_predictions(pipeline))
    except Exception as error:
        raise OverrideRejected(
            f"version {target.version} of {name} cannot serve ({error_text(error)}); "
            "the champion is unchanged: choose another version, or train again"
        ) from error
    if found.verdict != Verdict.PASS:
        raise OverrideRejected(f"version {target.version} of {name} cannot serve: {found.sentence}")


def _override(log: DecisionLog, kind: Kind, reason: str) -> ManualOverride:
    """Return the override, which expires when a training is evaluated on newer data."""
    last = log.latest_training()
    if last is None:
        return ManualOverride(kind=kind, reason=reason, test_month="", raw_sha256="")
    tested = [use for use in last.months if use.role == "test"]
    return ManualOverride(
        kind=kind,
        reason=reason,
        test_month=last.test_month,
        raw_sha256=tested[0].raw_sha256 if tested else "",
    )


def _decision(
    kind: Kind,
    serving: ModelVersion | None,
    target: ModelVersion,
    override: ManualOverride,
    dagster_run_id: str,
) -> ChampionDecision:
    came = "nothing" if serving is None else f"version {serving.version}"
    action = "rolled back" if kind == "rollback" else "promoted by hand"
    until = (
        f" It stands until models are evaluated on a month after {override.test_month}."
        if override.test_month
        else ""
    )
    return ChampionDecision(
        promoted=True,
        reason=f"{action} from {came} to version {target.version} ({target.model}): "
        f"{override.reason}.{until}",
        previous_version=None if serving is None else serving.version,
        training_set="",
        test_rmse=target.test_rmse,
        caveat=target.caveat,
        decision_id=uuid.uuid4().hex[:8],
        kind=kind,
        decided_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        trigger=override.reason,
        dagster_run_id=dagster_run_id,
        test_month=target.test_month,
        code_version=model_code_version(),
        **version_fields(target),
    )

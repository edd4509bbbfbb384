"""A person's say on who serves: back to an earlier champion, or a version by name.

It is checked like any other version before the alias moves, recorded like any other decision, and
held until there is data that it was not made on.
"""

import dataclasses
import json
import uuid
from datetime import UTC, datetime
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ml_assets.config.code_version import model_code_version
from ml_assets.evaluation.model_checks import predictions_in_range
from ml_assets.evaluation.records import ChampionDecision
from ml_assets.pipeline.fingerprint import known_minutes
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.evaluate import keep_decision
from ml_assets.registry.artifacts import CHAMPION, PREVIOUS, version_with_alias
from ml_assets.registry.loading import HOLD, load_verified
from ml_assets.registry.manual_hold import ManualOverride
from ml_assets.registry.registry import (
    Registry,
    explain_missing_champion,
    list_versions,
    promote_alias,
    settle,
    versions_of,
)
from ml_assets.secrets import ShownError, error_text
from ml_assets.trips.quality import Verdict

Kind = Literal["rollback", "override"]


class OverrideRejected(ShownError, ValueError):
    """The version that a person asked for cannot serve; says why, and what can be done."""


def override_champion(
    registry: Registry,
    log: DecisionLog,
    *,
    kind: Kind,
    version: str | None,
    reason: str,
    dagster_run_id: str = "",
) -> ChampionDecision:
    """Let another version serve, on a person's word.

    Args:
        registry: Where champions are registered.
        log: Decisions; the newest training's tells on which data the person chose.
        kind: ``rollback`` (to the version that served before, unless one is named) or
            ``override``.
        version: The version; None, with a rollback, means the one before.
        reason: The person's.
        dagster_run_id: The run that carries it out.

    Returns:
        The decision, carried out and recorded.

    Raises:
        OverrideRejected: when there is no such version, it serves already, or cannot be served.
        ConcurrentPromotion: when another process moved the alias meanwhile.
    """
    client, name = registry.client, registry.name
    settle(client, name)
    serving = version_with_alias(client, name, CHAMPION)
    log.settle(None if serving is None else str(serving.version))
    target = require_possible(registry, log.dataset, version)
    hold = _hold(log, kind, reason)
    decision = _decision(log, kind, serving, target, hold, dagster_run_id)
    log.write(decision.model_copy(update={"carried_out": False}))
    _tell(client, name, decision, hold)
    promote_alias(
        client,
        name,
        str(target.version),
        expected_current=None if serving is None else str(serving.version),
        lock_folder=registry.lock_folder,
    )
    log.write(decision)
    return decision


def require_possible(registry: Registry, dataset: str, version: str | None) -> Any:
    """Refuse a version that cannot serve; changes nothing.

    Args:
        registry: Where champions are registered.
        dataset: The trips that are named now.
        version: The version; None means the one that served before.

    Returns:
        MLflow's entity of the version.

    Raises:
        OverrideRejected: when there is no such version, it serves already, or cannot be served.
    """
    client, name = registry.client, registry.name
    serving = version_with_alias(client, name, CHAMPION)
    _require_same_trips(serving, dataset)
    target = _target(client, name, version, serving, dataset)
    _require_servable(name, target)
    return target


def _require_same_trips(serving: Any, dataset: str) -> None:
    """What serves for real trips gives way to a version of these trips only.

    Raises:
        OverrideRejected: when it was trained on others than those that are named now.
    """
    if serving is None or serving.tags.get("synthetic") != "false":
        return
    trained_on = serving.tags.get("dataset")
    if trained_on != dataset:
        raise OverrideRejected(
            f"version {serving.version}, which serves, was trained on {trained_on}, and the trips "
            f"named now are those of {dataset}: set ML_ASSETS_TRIPS and ML_ASSETS_TAXI as they "
            "were when it was trained"
        )


def _target(
    client: MlflowClient, name: str, version: str | None, serving: Any, dataset: str
) -> Any:
    """The version to reinstate; None for the one that served before.

    Raises:
        OverrideRejected: when there is none, it serves already, or it is of other trips.
    """
    if version is None:
        if serving is None:
            raise OverrideRejected(
                f"there is nothing to roll back from: {explain_missing_champion(client, name)}"
            )
        found = version_with_alias(client, name, PREVIOUS)
        if found is None and not _others(client, name, dataset):
            raise OverrideRejected(
                f"there is nothing to roll back to: version {serving.version} of {name} is the "
                f"only one of {dataset}; train another with `ml-assets run`"
            )
        if found is None:
            raise OverrideRejected(
                f"no version served before version {serving.version} of {name}, or it was deleted: "
                f"{_choose(client, name, dataset)}"
            )
    else:
        try:
            found = client.get_model_version(name, version)
        except MlflowException as error:
            raise OverrideRejected(
                f"{name} has no version {version}: {_choose(client, name, dataset)}"
            ) from error
    if serving is not None and str(found.version) == str(serving.version):
        raise OverrideRejected(f"version {found.version} of {name} serves already")
    trained_on = found.tags.get("dataset")
    if trained_on != dataset:
        before = ", which served before," if version is None else ""
        raise OverrideRejected(
            f"version {found.version} of {name}{before} was trained on "
            f"{trained_on or 'unknown trips'}, not on {dataset}: {_choose(client, name, dataset)}"
        )
    return found


def _choose(client: MlflowClient, name: str, dataset: str) -> str:
    """What to choose from, with a command where there is another version of these trips."""
    others = _others(client, name, dataset)
    hint = f", with `ml-assets promote {others[-1]}` for example" if others else ""
    return f"choose one of {list_versions(client, name, dataset)}{hint}"


def _others(client: MlflowClient, name: str, dataset: str) -> list[str]:
    """The versions of these trips that do not serve."""
    serving = version_with_alias(client, name, CHAMPION)
    return [
        str(entry.version)
        for entry in versions_of(client, name, dataset)
        if serving is None or str(entry.version) != str(serving.version)
    ]


def _require_servable(name: str, target: Any) -> None:
    """Load it as a server would, under today's code.

    Raises:
        OverrideRejected: with why it cannot serve.
    """
    try:
        pipeline = load_verified(f"models:/{name}/{target.version}", target.tags)
        found = predictions_in_range(known_minutes(pipeline))
    except Exception as error:
        raise OverrideRejected(
            f"version {target.version} of {name} cannot serve ({error_text(error)}); "
            "what serves now goes on: choose another version, or train again"
        ) from error
    if found.verdict != Verdict.PASS:
        raise OverrideRejected(f"version {target.version} of {name} cannot serve: {found.sentence}")


def _hold(log: DecisionLog, kind: Kind, reason: str) -> ManualOverride:
    """Until when the choice stands: as long as trainings judge on nothing newer than by now."""
    last = log.latest_training()
    if last is None:
        return ManualOverride(kind, reason, "", "")
    judged = [use for use in last.months if use.role == "judge"]
    return ManualOverride(kind, reason, last.judged_month, judged[0].raw_sha256 if judged else "")


def _decision(
    log: DecisionLog,
    kind: Kind,
    serving: Any,
    target: Any,
    hold: ManualOverride,
    dagster_run_id: str,
) -> ChampionDecision:
    tags = target.tags
    model = tags.get("model", "unknown")
    came = "nothing" if serving is None else f"version {serving.version}"
    said = "rolled back" if kind == "rollback" else "put in place by hand"
    refitted = tags.get("served", "").startswith("refitted_on_all_months")
    until = (
        f" It stands until a month after {hold.judged_month} judges." if hold.judged_month else ""
    )
    return ChampionDecision(
        promoted=True,
        reason=f"{said} from {came} to version {target.version} ({model}): {hold.reason}.{until}",
        champion=model,
        registry_version=str(target.version),
        previous_version=None if serving is None else str(serving.version),
        training_set="",
        synthetic=tags.get("synthetic") == "true",
        dataset=tags.get("dataset", ""),
        serve="refitted_on_all_months" if refitted else "judged",
        served=tags.get("served", ""),
        test_rmse=float(tags["test_rmse"]) if "test_rmse" in tags else None,
        caveat=tags.get("caveat"),
        decision_id=uuid.uuid4().hex[:8],
        kind=kind,
        decided_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        started_because=hold.reason,
        dagster_run_id=dagster_run_id,
        judged_month=tags.get("judged_month", ""),
        code_version=model_code_version(),
    )


def _tell(
    client: MlflowClient, name: str, decision: ChampionDecision, hold: ManualOverride
) -> None:
    version = decision.registry_version or ""
    keep_decision(client, name, version, decision, decision.kind, decision.reason, [])
    client.set_model_version_tag(name, version, HOLD, json.dumps(dataclasses.asdict(hold)))

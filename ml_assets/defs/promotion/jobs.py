"""Jobs by which a person decides who serves: back to the champion before, or a version by name."""

import dagster as dg
from pydantic import Field

from ml_assets.defs.common import CHAMPION_MODEL
from ml_assets.defs.metadata import safe_metadata
from ml_assets.defs.promotion.metadata import decision_metadata
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.promotion.decision_log import DecisionLog

ROLL_BACK, PROMOTE = "roll_back_champion", "promote_version"


class RollBackConfig(dg.Config):
    """Back to which version, and why."""

    version: str | None = Field(
        default=None, description="Registry version; unset: the one that served before."
    )
    reason: str = Field(description="Why, for the record.")


class PromoteConfig(dg.Config):
    """Which version serves from now on, and why."""

    version: str = Field(description="Registry version.")
    reason: str = Field(description="Why, for the record.")


@dg.op(name="roll_back", out=dg.Out(dg.Nothing))
def roll_back_op(
    context: dg.OpExecutionContext,
    config: RollBackConfig,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
) -> None:
    """Let an earlier champion serve again."""
    _promote(context, trip_store, tracking, "rollback", config.version, config.reason)


@dg.op(name="promote", out=dg.Out(dg.Nothing))
def promote_op(
    context: dg.OpExecutionContext,
    config: PromoteConfig,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
) -> None:
    """Let a version serve, whatever a decision said of it."""
    _promote(context, trip_store, tracking, "override", config.version, config.reason)


@dg.job(
    name=ROLL_BACK,
    description="Return to the champion before, or to a named version, in one step. It is not "
    "undone by the next retraining unless that is better on newer data.",
)
def roll_back_champion() -> None:
    """Go back to an earlier champion."""
    roll_back_op()


@dg.job(
    name=PROMOTE,
    description="A person's override: let a version serve. It is loaded and asked before the alias "
    "moves, and stands until a retraining is better on newer data.",
)
def promote_version() -> None:
    """Let a version serve on a person's word."""
    promote_op()


def promotion_jobs() -> list[dg.JobDefinition]:
    """Both jobs."""
    return [roll_back_champion, promote_version]


def _promote(
    context: dg.OpExecutionContext,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
    kind: str,
    version: str | None,
    reason: str,
) -> None:
    from ml_assets.promotion.manual import OverrideRejected, override_champion
    from ml_assets.registry.registry import ConcurrentPromotion

    if not reason.strip():
        raise dg.Failure("a reason is needed: it is what others will read in the record")
    records = trip_store.records()
    log = DecisionLog(records.home, records.dataset)
    registry = tracking.registry()
    try:
        decision = override_champion(
            registry,
            log,
            kind="rollback" if kind == "rollback" else "override",
            version=version,
            reason=reason.strip(),
            dagster_run_id=context.run_id,
        )
    except (OverrideRejected, ConcurrentPromotion) as error:
        raise dg.Failure(str(error)) from error
    context.log.info(decision.reason)

    def metadata() -> dict[str, dg.MetadataValue]:
        links = tracking.where_to_look(registry.client, decision.registry_version or "")
        return {**decision_metadata(decision, log.all()), **links}

    shown = safe_metadata(context.log, "champion_model", metadata)
    context.log_event(dg.AssetMaterialization(CHAMPION_MODEL, metadata=shown))

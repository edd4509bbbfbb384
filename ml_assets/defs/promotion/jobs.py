"""Jobs of manual promotion: roll back to an earlier champion, or promote a version."""

from typing import Literal

import dagster as dg
from pydantic import Field

from ml_assets.defs.common import CHAMPION_MODEL
from ml_assets.defs.metadata import safe_metadata
from ml_assets.defs.promotion.champion import decision_metadata
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.promotion import OverrideRejected
from ml_assets.registry import ConcurrentPromotion

ROLLBACK, PROMOTE = "rollback_champion", "promote_version"


class RollbackConfig(dg.Config):
    """Config of the rollback."""

    version: str | None = Field(
        default=None, description="Registry version; unset: the previous champion."
    )
    reason: str = Field(description="Why, for the record.")


class PromoteConfig(dg.Config):
    """Config of the promotion."""

    version: str = Field(description="Registry version.")
    reason: str = Field(description="Why, for the record.")


@dg.op(name="rollback", out=dg.Out(dg.Nothing))
def rollback_op(
    context: dg.OpExecutionContext,
    config: RollbackConfig,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
) -> None:
    """Promote an earlier champion again."""
    _promote(context, trip_store, tracking, "rollback", config.version, config.reason)


@dg.op(name="promote", out=dg.Out(dg.Nothing))
def promote_op(
    context: dg.OpExecutionContext,
    config: PromoteConfig,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
) -> None:
    """Promote a version, whatever the last decision on it."""
    _promote(context, trip_store, tracking, "override", config.version, config.reason)


@dg.job(
    name=ROLLBACK,
    description="Roll back to the previous champion, or to a version. It stays champion until a "
    "retraining is better on newer data.",
)
def rollback_champion() -> None:
    """Roll back to an earlier champion."""
    rollback_op()


@dg.job(
    name=PROMOTE,
    description="Manual override: promote a version. It is loaded and predicts before the alias "
    "moves, and stays champion until a retraining is better on newer data.",
)
def promote_version() -> None:
    """Promote a version manually."""
    promote_op()


def _promote(
    context: dg.OpExecutionContext,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
    kind: Literal["rollback", "override"],
    version: str | None,
    reason: str,
) -> None:
    from ml_assets.promotion.manual import override_champion

    if not reason.strip():
        raise dg.Failure("a reason is needed: it is what others will read in the record")
    log, registry = trip_store.decisions(), tracking.registry(tracking.client())
    try:
        decision = override_champion(
            registry,
            log,
            kind=kind,
            version=version,
            reason=reason.strip(),
            dagster_run_id=context.run_id,
        )
    except (OverrideRejected, ConcurrentPromotion) as error:
        raise dg.Failure(str(error)) from error
    context.log.info(decision.reason)
    shown = safe_metadata(
        context.log,
        "champion_model",
        lambda: decision_metadata(decision, log, tracking, registry.client),
    )
    context.log_event(dg.AssetMaterialization(CHAMPION_MODEL, metadata=shown))

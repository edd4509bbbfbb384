"""Which failures may pass by themselves: told by a run's tag, for the sensor that asks again."""

import dagster as dg

from ml_assets.defs.operations.run_tags import FAILURE_TAG, PASSING
from ml_assets.ingestion import SourceUnavailable, WrongSource
from ml_assets.registry.mlflow_store import TrackingUnreachable

_PASSING = (SourceUnavailable, WrongSource, TrackingUnreachable, OSError)
"""A source or a server that is down, a folder that is not mounted, a disk without room."""


@dg.failure_hook(name="tell_passing_failures")
def tell_passing_failures(context: dg.HookContext) -> None:
    """Tag the run when what failed is not its data or its code."""
    if may_pass(context.op_exception):
        context.instance.add_run_tags(context.run_id, {FAILURE_TAG: PASSING})


def may_pass(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is of a kind that passes by itself."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, _PASSING):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False

"""Reference data: the taxi zones and their boroughs."""

import dagster as dg

from ml_assets.assets.groups import OWNERS, REFERENCE
from ml_assets.trips.zones import taxi_zones


@dg.asset(
    name="taxi_zones",
    group_name=REFERENCE,
    owners=OWNERS,
    kinds={"csv"},
    description="The 263 taxi zones with name and borough, as the TLC publishes them.",
)
def taxi_zones_asset() -> dg.MaterializeResult:
    """Show the zones that ship with the package."""
    zones = taxi_zones()
    return dg.MaterializeResult(metadata={"dagster/row_count": zones.num_rows})

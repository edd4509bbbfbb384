"""Reference data: the taxi zones and their boroughs."""

from collections import Counter

import dagster as dg

from ml_assets.defs.groups import OWNERS, REFERENCE
from ml_assets.defs.metadata import table
from ml_assets.trips.zones import taxi_zones

PREVIEW_ROWS = 5


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
    boroughs = Counter(zones["borough"].to_pylist())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": zones.num_rows,
            "zones_by_borough": table(
                [{"borough": name, "zones": number} for name, number in boroughs.most_common()]
            ),
            "preview": table(zones.slice(0, PREVIEW_ROWS).to_pylist()),
        }
    )

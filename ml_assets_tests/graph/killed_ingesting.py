"""A run that is killed at a named point of the ingestion of 2023-03 and 2023-04."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ml_assets.defs.ingestion import assets as ingestion
from ml_assets.ingestion import folder
from ml_assets.ingestion.ingest_month import ingest_month
from ml_assets.storage import filesystem
from ml_assets_tests.graph.killing import die, die_when, run_command, then_die

INGEST = ["run", "--first", "2023-01", "--last", "2023-04", "--ingest-only", "--json"]


@dataclass(frozen=True)
class Moment:
    """A point of death: how it is set up, and what is then left (a glob below the home)."""

    arrange: Callable[[], None]
    leftover: str | None = None


def while_downloading() -> None:
    folder._CHUNK_BYTES = 4096

    def half(month: Any) -> Callable[..., None]:
        return die_when(lambda done, total: done > total / 2, lambda done, total: None)

    ingestion.transfer_of = half  # type: ignore[attr-defined]


def before_the_raw_file_is_in_place() -> None:
    filesystem.remove = then_die(filesystem.remove)


def before_its_record_is_in_place() -> None:
    Path.replace = die_when(  # type: ignore[method-assign]
        lambda temporary, final: "/raw_trips/" in str(final) and final.suffix == ".parquet",
        Path.replace,
        after=True,
    )


def between_months() -> None:
    ingestion.ingest_month = die_when(  # type: ignore[attr-defined]
        lambda source, store, month, *rest: str(month) == "2023-04", ingest_month
    )


def between_assets() -> None:
    ingestion._table = die  # type: ignore[assignment]


def in_the_middle_of(table: str) -> Callable[[], None]:
    """Die with half of a month's file written."""

    def arrange() -> None:
        write = pq.write_table

        def write_half(arrow: Any, path: Path, **options: Any) -> None:
            write(arrow, path, **options)
            if f"/{table}/" in str(path) and ".2023-03." in str(path):
                with open(path, "rb+") as file:
                    file.truncate(path.stat().st_size // 2)
                die()

        pq.write_table = write_half

    return arrange


MOMENTS = {
    "downloading": Moment(while_downloading, ".incoming_*/.*.tmp"),
    "replacing the raw file": Moment(
        before_the_raw_file_is_in_place, "raw_trips/green/.*2023-03.parquet.*.tmp"
    ),
    "recording the raw file": Moment(
        before_its_record_is_in_place, "raw_trips/green/.*2023-03.json.*.tmp"
    ),
    "between months": Moment(between_months),
    "between assets": Moment(between_assets),
    "writing features": Moment(
        in_the_middle_of("trip_features"), "trip_features/green/.2023-03.parquet.*.tmp"
    ),
    "writing rejected": Moment(
        in_the_middle_of("rejected_trips"), "rejected_trips/green/.2023-03.parquet.*.tmp"
    ),
}


def work(moment: str, environment: Mapping[str, str]) -> None:
    MOMENTS[moment].arrange()
    run_command(INGEST, environment)

"""From raw file to features: against decoding the columns alone, and the course's pandas."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.course_protocol import read_dataframe
from benchmarks.figures import Figure, Section, median_seconds
from benchmarks.options import Options
from benchmarks.published_months import FIRST_MONTH, LAST_MONTH, TAXI, PublishedMonths
from ml_assets.trips.cleaning import kept_trips, read_published
from ml_assets.trips.month import months_between
from ml_assets.trips.published_schema import published_columns

ROWS = 1_700_000
ROUNDS = 7
PANDAS_ROUNDS = 3
TRANSFORM_ROWS_PER_SECOND = 10e6
TRANSFORM_TO_DECODE = 0.4
FILE_TO_PANDAS = 20.0
NOTES = [
    "The file holds all real months, repeated to about 1.7 M rows, each moved to January 2023 so "
    "that the transform keeps what it would keep (rows rejected early would be cheaper).",
    "The transform is asked for 10 M rows/s or 0.4 of the rate at which pyarrow decodes the "
    "columns; one of the two is enough, so the target is on the ratio to the lower.",
    "The course's code (`clean` of its Mage project) works the duration out row by row, with "
    "`.apply(lambda td: …)`; what it would reach with `.dt.total_seconds()` is reported beside it.",
]


def measure(options: Options) -> Section:
    """The transform, the decode and the course's code on one file, which the page cache holds."""
    trips = PublishedMonths.open(options.scratch)
    path = options.scratch / "all_months.parquet"
    options.say("writing all months into one file")
    rows = _write_all_months(trips, path)
    columns = [column.published for column in published_columns(TAXI)]
    published = read_published(path, TAXI, FIRST_MONTH, path.name)
    kept = kept_trips(published, FIRST_MONTH).height
    options.say(f"{rows:,} rows: the transform, the decode, the way from file to features")
    seconds = median_seconds(
        {
            "transform": lambda: kept_trips(published, FIRST_MONTH),
            "decode": lambda: pq.read_table(path, columns=columns),
            "file": lambda: kept_trips(
                read_published(path, TAXI, FIRST_MONTH, path.name), FIRST_MONTH
            ),
        },
        options.rounds_or(ROUNDS),
    )
    options.say("the course's pandas")
    course = median_seconds(
        {
            "course": lambda: read_dataframe(path),
            "course_vectorised": lambda: read_dataframe(path, vectorised=True),
        },
        options.rounds_or(PANDAS_ROUNDS),
    )
    return Section(_figures(rows, kept, seconds | course), trips.describe(), NOTES)


def _figures(rows: int, kept: int, seconds: dict[str, float]) -> list[Figure]:
    rates = {f"{name}_rows_per_second": round(rows / taken) for name, taken in seconds.items()}
    detail = {"rows": rows, "kept": kept, **rates}
    transform = rows / seconds["transform"]
    target = min(TRANSFORM_ROWS_PER_SECOND, TRANSFORM_TO_DECODE * rows / seconds["decode"])
    return [
        Figure(
            "pure transform",
            "10 M rows/s or 0.4 of pyarrow's decoding, the lower",
            transform / target,
            1.0,
            "higher",
            detail=detail,
        ),
        Figure(
            "pure transform",
            "pyarrow decoding the columns",
            seconds["decode"] / seconds["transform"],
            better="higher",
            detail=detail,
        ),
        Figure(
            "pure transform, million rows/s",
            "(a rate)",
            transform / 1e6,
            better="higher",
            unit="M rows/s",
            detail=detail,
        ),
        Figure(
            "raw file to features",
            "course's pandas",
            seconds["course"] / seconds["file"],
            FILE_TO_PANDAS,
            "higher",
            detail=detail,
        ),
        Figure(
            "raw file to features",
            "course's pandas, were it vectorised",
            seconds["course_vectorised"] / seconds["file"],
            None,
            "higher",
            detail=detail,
        ),
    ]


def _write_all_months(trips: PublishedMonths, path: Path) -> int:
    """All months as one file of the first month's schema; returns its rows."""
    months = list(months_between(FIRST_MONTH, LAST_MONTH))
    schema = pa.schema(
        # Columns that nobody filled are of type null in some months and numbers in others.
        field.with_type(pa.float64()) if pa.types.is_null(field.type) else field
        for field in pq.read_schema(trips.path(FIRST_MONTH)).remove_metadata()
    )
    tables = []
    for month in months:
        table = pq.read_table(trips.path(month)).select(schema.names).cast(schema)
        shift = pa.scalar(FIRST_MONTH.start - month.start, pa.duration("us"))
        for name in (f"lpep_{end}_datetime" for end in ("pickup", "dropoff")):
            position = schema.get_field_index(name)
            moved = pc.add(table.column(name), shift)
            table = table.set_column(
                position, schema.field(name), moved.cast(schema.types[position])
            )
        tables.append(table)
    once = pa.concat_tables(tables)
    repeated = pa.concat_tables([once] * max(1, round(ROWS / once.num_rows)))
    pq.write_table(repeated, path, compression="zstd")
    return int(repeated.num_rows)

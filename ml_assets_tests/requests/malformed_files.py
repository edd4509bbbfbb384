"""Malformed files of requests: their content and the expected message."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from datetime import time
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

HEADER: Final = "PULocationID,DOLocationID,trip_distance"
ROWS: Final = "74,75,2.5\n41,42,1.5\n"
GOOD: Final = {"PULocationID": 74, "DOLocationID": 75, "trip_distance": 2.5}


def csv(text: str, encoding: str = "utf-8") -> bytes:
    return text.encode(encoding)


def lines(*rows: Any) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def parquet(**columns: Any) -> bytes:
    """Write valid columns except for these; None omits one."""
    table = {name: pa.array([value] * 2) for name, value in GOOD.items()} | columns
    buffer = io.BytesIO()
    pq.write_table(pa.table({n: c for n, c in table.items() if c is not None}), buffer)
    return buffer.getvalue()


def zipped(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("requests.csv", text)
    return buffer.getvalue()


def without_end(content: bytes) -> bytes:
    return content[: len(content) // 2]


MALFORMED: Final[dict[str, tuple[str, Callable[[], bytes], str]]] = {
    # CSV: separators, spaces, quotes
    "semicolons": ("in.csv", lambda: csv((HEADER + "\n" + ROWS).replace(",", ";")),
        "is separated by semicolons (';') and not by commas: its header is 'PULocationID;DOLoc"),
    "semicolons and decimal commas": ("in.csv",
        lambda: csv("PULocationID;DOLocationID;trip_distance\n74;75;2,5\n"), "semicolons (';')"),
    "tabs": ("in.csv", lambda: csv((HEADER + "\n" + ROWS).replace(",", "\t")), r"tabs ('\t')"),
    "bars": ("in.csv", lambda: csv((HEADER + "\n" + ROWS).replace(",", "|")), "bars ('|')"),
    "spaces": ("in.csv", lambda: csv((HEADER + "\n" + ROWS).replace(",", " ")), "spaces (' ')"),
    "quoted names and semicolons": ("in.csv",
        lambda: csv('"PULocationID";"DOLocationID";"trip_distance"\n74;75;2.5\n'),
        "semicolons (';')"),
    "semicolons after the header": ("in.csv", lambda: csv(f"{HEADER}\n74;75;2.5\n41;42;1\n"),
        "the row has 1 field, the header 3: it is not separated by commas"),
    "space after the commas": ("in.csv",
        lambda: csv("PULocationID, DOLocationID, trip_distance\n74, 75, 2.5\n"),
        "the column name ' DOLocationID', with white space around it: write DOLocationID"),
    "space before an optional name": ("in.csv",
        lambda: csv(f"{HEADER}, pickup_datetime\n74,75,2.5,2024-05-06\n"),
        "the column name ' pickup_datetime', with white space around it: write pickup_datetime"),
    "hard space after a name": ("in.csv", lambda: csv(f"{HEADER}\u00a0\n{ROWS}"),
        r"the column name 'trip_distance\xa0', with white space around it"),
    "space and quotes": ("in.csv",
        lambda: csv('"PULocationID", "DOLocationID", "trip_distance"\n74,75,2.5\n'),
        """the column name ' "DOLocationID"', with white space around it"""),
    "single quotes": ("in.csv",
        lambda: csv("'PULocationID','DOLocationID','trip_distance'\n74,75,2.5\n"),
        """the column name "'PULocationID'", with quotes in it: write PULocationID"""),
    "the whole header in quotes": ("in.csv", lambda: csv(f'"{HEADER}"\n"74,75,2.5"\n'),
        f"has the header '{HEADER}' in one pair of quotes"),
    "space before quoted values": ("in.csv",
        lambda: csv(f'{HEADER},note\n74,75,2.5, "a, b"\n'), "a space before a quote"),
    "space before the quotes of a zone": ("in.csv",
        lambda: csv(f'{HEADER}\n"74", "75", "2.5"\n'),
        """has the value ' "75"', with white space before its quote"""),
    "a value over several lines": ("in.csv",
        lambda: csv(f'{HEADER}\n"74\n\x1b[31m",75,2.5\n'),
        r"PULocationID must be a zone number from 1 to 265, not 74\n\x1b[31m"),
    "a quote that is never closed": ("in.csv", lambda: csv(f'{HEADER}\n"74,75,2.5\n1,2,3\n'),
        "a field spans several lines, is its quote closed?"),
    "a long quote that is never closed": ("in.csv",
        lambda: csv(f'{HEADER}\n"' + "1,2,3\n" * 40_000), "(131072) (is a quote left open?)"),
    "decimal commas": ("in.csv", lambda: csv(f"{HEADER}\n74,75,2,5\n41,42,1,5\n"),
        "0 of 2 rows can be scored, so out.csv is not written. The first: the row has 4 fields, "
        "the header 3: is a comma in it a decimal point?"),
    "a comma at the end of each row": ("in.csv", lambda: csv(f"{HEADER}\n74,75,2.5,\n"),
        "the row has 4 fields, the header 3: it ends with a comma"),
    # CSV: headers
    "no header": ("in.csv", lambda: csv(ROWS), "has no header: its first line is '74,75,2.5'"),
    "no header, with times": ("in.csv", lambda: csv("74,75,2.5,2024-05-06 17:30,\n"),
        "has no header: its first line is '74,75,2.5,2024-05-06 17:30,'"),
    "Excel's line": ("in.csv", lambda: csv(f"sep=;\n{HEADER}\n{ROWS}"),
        "begins with the line 'sep=;', which only Excel understands"),
    "a comment": ("in.csv", lambda: csv(f"# made on Monday\n{HEADER}\n{ROWS}"),
        "begins with the comment '# made on Monday'"),
    "an empty first line": ("in.csv", lambda: csv(f"\n{HEADER}\n{ROWS}"),
        "begins with an empty line"),
    "other names": ("in.csv", lambda: csv("PU,DO,miles\n74,75,2.5\n"),
        "'PU' (looks like PULocationID), 'DO' (looks like DOLocationID), 'miles' (looks like"),
    "another name of the distance": ("in.csv",
        lambda: csv("PULocationID,DOLocationID,miles\n74,75,2.5\n"),
        "'miles' (looks like trip_distance). Rename it to the field, or keep it as a column of "
        "your own with --ignore-column 'miles'"),
    "another name of the distance, which predictions are written to": ("in.csv",
        lambda: csv("PULocationID,DOLocationID,distance\n74,75,2.5\n"),
        "'distance' (looks like trip_distance). Rename it to the field, or remove 'distance', "
        "which predictions are written to"),
    "another name of the time": ("in.csv", lambda: csv(f"{HEADER},pickup_time\n74,75,2.5,x\n"),
        "'pickup_time' (looks like pickup_datetime). Rename it to the field, or keep it as a "
        "column of your own with --ignore-column 'pickup_time'"),
    "another name of the passengers": ("in.csv", lambda: csv(f"{HEADER},passengers\n1,2,3,4\n"),
        "'passengers' (looks like passenger_count)"),
    "another zone beside the zone": ("in.csv", lambda: csv(f"{HEADER},PU_location\n1,2,3,4\n"),
        "'PU_location' (looks like PULocationID)"),
    "a misspelling": ("in.csv", lambda: csv(f"{HEADER},passanger_count\n1,2,3,4\n"),
        "'passanger_count' (looks like passenger_count)"),
    "a column lacks": ("in.csv", lambda: csv("PULocationID,trip_distance,fare\n74,75,2.5\n"),
        "lacks the column DOLocationID; it has 'PULocationID', 'trip_distance', 'fare'"),
    "a name twice": ("in.csv", lambda: csv(f"{HEADER},note,note\n1,2,3,4,5\n"),
        "more than one column 'note'"),
    "a field in two letter cases": ("in.csv", lambda: csv(f"{HEADER},pulocationid\n1,2,3,4\n"),
        "'PULocationID' and 'pulocationid' both mean PULocationID: remove one"),
    "two names of the time": ("in.csv",
        lambda: csv(f"{HEADER},pickup_datetime,lpep_pickup_datetime\n1,2,3,,\n"),
        "'pickup_datetime' and 'lpep_pickup_datetime' both mean pickup_datetime"),
    "an invisible character": ("in.csv", lambda: csv(f"\ufeff\ufeff{HEADER}\n{ROWS}"),
        r"the column name '\ufeffPULocationID', with an invisible character in it"),
    "a name of 100 kB": ("in.csv", lambda: csv(f"{'x' * 100_000},a\n1,2\n"),
        "lacks the column PULocationID, DOLocationID; it has 'xxxxx"),
    # CSV: content
    "nothing": ("in.csv", lambda: b"", "is empty"),
    "nothing but a mark of the encoding": ("in.csv", lambda: csv("\ufeff"), "is empty"),
    "white space": ("in.csv", lambda: b" \n\n", "is empty"),
    "a header alone": ("in.csv", lambda: csv(f"{HEADER}\n"), "has no requests"),
    "UTF-16": ("in.csv", lambda: csv(f"{HEADER}\n{ROWS}", "utf-16"), "is UTF-16 text and not UTF-8"),
    "UTF-16 without a mark": ("in.csv", lambda: csv(f"{HEADER}\n{ROWS}", "utf-16-be"),
        "is UTF-16 text"),
    "Latin-1": ("in.csv", lambda: csv(f"{HEADER},note\n1,2,3,caf\u00e9\n", "latin-1"),
        "is not UTF-8 text"),
    "bytes of zero": ("in.csv", lambda: csv(f"{HEADER}\n") + bytes(1000), "has zero bytes"),
    "Excel": ("in.csv", lambda: zipped(ROWS), "is an Excel workbook or another ZIP archive"),
    "gzip": ("in.csv", lambda: gzip.compress(csv(ROWS)), "is compressed with gzip: unpack it"),
    "Parquet called CSV": ("in.csv", parquet, "is a Parquet file: name it .parquet"),
    "JSON called CSV": ("in.csv", lambda: lines(GOOD), "is JSON: write one object per line"),
    "a web page": ("in.csv", lambda: b"<!DOCTYPE html><title>404</title>", "is HTML or XML"),
    "kilometres in words": ("in.csv", lambda: csv(f"{HEADER}\n74,75,four km\n"),
        "trip_distance must be a number of miles from 0 to 1000, or left out for the usual "
        "distance of the two zones, not four km"),
    "names of zones": ("in.csv", lambda: csv(f"{HEADER}\nAstoria,Harlem,2\n"),
        "PULocationID must be a zone number from 1 to 265, not Astoria"),
    # JSON lines
    "no lines": ("in.jsonl", lambda: b"", "is empty: it has no requests"),
    "an array": ("in.jsonl", lambda: json.dumps([GOOD, GOOD]).encode(), "is a JSON array"),
    "an array over several lines": ("in.ndjson",
        lambda: json.dumps([GOOD, GOOD], indent=1).encode(), "is a JSON array: write its objects"),
    "objects over several lines": ("in.jsonl", lambda: json.dumps(GOOD, indent=1).encode(),
        "objects that span several lines"),
    "CSV called JSON": ("in.jsonl", lambda: csv(f"{HEADER}\n{ROWS}"), "is CSV (it begins with"),
    "single quotes in JSON": ("in.jsonl", lambda: f"{GOOD}\n".encode(), "line 1 is not a JSON object"),
    "columns instead of rows": ("in.jsonl",
        lambda: lines({name: [value] for name, value in GOOD.items()}),
        "PULocationID must be a zone number from 1 to 265, not a list"),
    "wrapped requests": ("in.jsonl", lambda: lines({"inputs": [GOOD]}),
        "line 1 has no request field, but 'inputs'"),
    "another name in a later line": ("in.jsonl", lambda: lines(GOOD, GOOD | {"pickup_time": "x"}),
        "line 2 of in.jsonl has a column that is not a request field but looks like one: "
        "'pickup_time'"),
    "two names in a line": ("in.jsonl",
        lambda: lines(GOOD | {"pickup_datetime": None, "tpep_pickup_datetime": "2024-05-06"}),
        "line 1 of in.jsonl: 'pickup_datetime' and 'tpep_pickup_datetime' both mean"),
    "a line of 2 MB": ("in.jsonl", lambda: b" " * 2_000_000, "line 1 of"),
    "gzip called JSON": ("in.jsonl", lambda: gzip.compress(lines(GOOD)), "compressed with gzip"),
    # Parquet
    "no bytes": ("in.parquet", lambda: b"", "cannot be read as Parquet: it is empty"),
    "Parquet cut short": ("in.parquet", lambda: without_end(parquet()), "it is cut short"),
    "Parquet with a damaged end": ("in.parquet", lambda: b"PAR1" + b"\xff" * 100 + b"PAR1",
        "in.parquet cannot be read"),
    "CSV called Parquet": ("in.parquet", lambda: csv(f"{HEADER}\n{ROWS}"), "name it .csv"),
    "Excel called Parquet": ("in.parquet", lambda: zipped(ROWS), "is an Excel workbook"),
    "encrypted Parquet": ("in.parquet", lambda: b"PARE" + bytes(100) + b"PARE", "encrypted"),
    "no rows": ("in.parquet",
        lambda: parquet(**{name: pa.array([], pa.float64()) for name in GOOD}),
        "has no requests"),
    "a column lacks in Parquet": ("in.parquet", lambda: parquet(DOLocationID=None),
        "lacks the column DOLocationID; it has 'PULocationID', 'trip_distance'"),
    "zones of true and false": ("in.parquet", lambda: parquet(PULocationID=pa.array([True, False])),
        "PULocationID must be a zone number from 1 to 265, not true or false"),
    "zones in structs": ("in.parquet", lambda: parquet(DOLocationID=pa.array([{"id": 1}] * 2)),
        "DOLocationID must be a zone number from 1 to 265, not an object"),
    "distances in lists": ("in.parquet", lambda: parquet(trip_distance=pa.array([[1.0], [2.0]])),
        "the usual distance of the two zones, not a list"),
    "distances as bytes": ("in.parquet", lambda: parquet(trip_distance=pa.array([b"1", b"2"])),
        "the usual distance of the two zones, not of type"),
    "distances that are times": ("in.parquet",
        lambda: parquet(trip_distance=pa.array([0, 1], pa.timestamp("us"))),
        "trip_distance must be a number of miles"),
    "pick-ups as numbers": ("in.parquet",
        lambda: parquet(lpep_pickup_datetime=pa.array([1_714_980_000, 1])),
        "pickup_datetime must be an ISO 8601 time"),
    "pick-ups as times of day": ("in.parquet",
        lambda: parquet(pickup_datetime=pa.array([time(1), time(2)])),
        "pickup_datetime must be an ISO 8601 time"),
    "a published name twice": ("in.parquet",
        lambda: parquet(lpep_pickup_datetime=pa.nulls(2), tpep_pickup_datetime=pa.nulls(2)),
        "'lpep_pickup_datetime' and 'tpep_pickup_datetime' both mean pickup_datetime"),
    "another name in Parquet": ("in.parquet", lambda: parquet(pickup_at=pa.nulls(2)),
        "'pickup_at' (looks like pickup_datetime)"),
}  # fmt: skip

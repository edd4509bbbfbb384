"""The prediction service against a bare route on the booster, MLflow's server, and the pipeline."""

import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import Figure, Section
from benchmarks.http_load import Connection, Load, latencies, paced_latencies, post, saturate
from benchmarks.http_processes import HttpServer, answering
from benchmarks.options import Options
from benchmarks.published_months import PublishedMonths
from benchmarks.registered_champion import COMMAND, URI, RegisteredChampion, train_champion
from benchmarks.repeated_request import repeating

MAX_TIMES_BARE = 2.0
MIN_TIMES_MLFLOW = 10.0
MAX_TIMES_PIPELINE = 3.0
MAX_SECONDS_TO_START = 3.0
MAX_TIMES_ALONE = 2.0
MIN_LISTS_OF_ALONE = 0.8
SINGLES = 512
"""Number of different requests, sent repeatedly."""
LIST = 10_000
TURNS = 24
REQUESTS_PER_TURN = 128
LOAD_ROUNDS = 3
LOAD_SECONDS = 4.0
LOAD_MAX = 40_000
CONNECTIONS = 8
LIST_ROUNDS = 9
STARTS = 3
MIXED_ROUNDS = 5
MIXED_SECONDS = 4.0
MIXED_INTERVAL = 0.005
"""Seconds between single requests of the mixed load."""
OURS, BARE, BARE_QUIET, MLFLOW = "ours", "bare", "bare, our options", "mlflow"
OUR_OPTIONS = ["--no-access-log", "--no-server-header"]
"""Of ``uvicorn``: what the service sets and that costs or saves time."""


@dataclass(frozen=True)
class Peer:
    """A server and its requests.

    Attributes:
        server: Where it answers.
        singles: Requests of one trip each.
    """

    server: HttpServer
    singles: list[bytes]


def measure(options: Options) -> Section:
    """Latency and throughput of single requests, a long list, and the start."""
    trips = PublishedMonths.open(options.scratch)
    options.say("training the champion that all of them serve")
    champion = train_champion(trips, options.scratch)
    figures: list[Figure] = []
    with _all_running(champion, options) as peers:
        _require_same_answers(champion, peers)
        figures += _latency(peers, options)
        figures += _throughput(peers, options)
        figures.append(_long_list(peers[OURS].server.port, champion, options))
        figures += _mixed_load(peers[OURS], champion, options)
    figures.append(_start(champion, options))
    return Section(figures, trips.describe(), _notes(champion))


@contextlib.contextmanager
def _all_running(champion: RegisteredChampion, options: Options) -> Iterator[dict[str, Peer]]:
    """Every server, each with one worker; only one is measured at a time."""
    booster, rows = options.scratch / "booster.ubj", options.scratch / "rows.npy"
    champion.write_booster(booster, rows, SINGLES)
    bodies = champion.bodies(SINGLES)
    ours = [post("/predict", body) for body in bodies]
    theirs = [post("/invocations", {"dataframe_split": _as_split(body)}) for body in bodies]
    bare = [sys.executable, "-m", "uvicorn", "benchmarks.bare_route:app"]
    files = {"BENCH_BOOSTER": str(booster), "BENCH_ROWS": str(rows)}
    mlflow = [sys.executable, "-m", "mlflow", "models", "serve", "-m", URI, "--env-manager"]
    commands: dict[str, tuple[list[str], Mapping[str, str], list[bytes]]] = {
        OURS: ([sys.executable, *COMMAND, "serve"], champion.variables, ours),
        BARE: (bare, files, ours),
        BARE_QUIET: ([*bare, *OUR_OPTIONS], files, ours),
        MLFLOW: ([*mlflow, "local"], {**champion.variables, **_path()}, theirs),
    }
    with contextlib.ExitStack() as stack:
        peers = {}
        for name, (command, variables, singles) in commands.items():
            options.say(f"starting {name}")
            log = options.scratch / f"{name.replace(', ', '_').replace(' ', '_')}.log"
            server = stack.enter_context(answering(command, variables, log, singles[0]))
            peers[name] = Peer(server, singles)
        yield peers


def _require_same_answers(champion: RegisteredChampion, peers: Mapping[str, Peer]) -> None:
    """What is measured has to be right, or it is worth nothing.

    Raises:
        RuntimeError: when a server answers otherwise than the pipeline.
    """
    minutes = champion.pipeline.predict(champion.requests.head(SINGLES))
    for name, read in ((OURS, _our_minutes), (MLFLOW, _mlflow_minutes)):
        connection = Connection(peers[name].server.port)
        answers = [read(connection.send(request)) for request in peers[name].singles[:100]]
        connection.close()
        if answers != minutes[:100].tolist():
            raise RuntimeError(f"{name} does not answer what the pipeline predicts")


def _latency(peers: Mapping[str, Peer], options: Options) -> list[Figure]:
    """One request after the other on one connection, the servers taking short turns."""
    names = (OURS, BARE, BARE_QUIET)
    connections = {name: Connection(peers[name].server.port) for name in names}
    taken: dict[str, list[float]] = {name: [] for name in names}
    turns = options.rounds_or(TURNS)
    options.say(f"{turns} turns of {REQUESTS_PER_TURN} single requests each")
    busy = time.process_time()
    for turn in range(turns + 2):  # two to warm up
        start = turn * REQUESTS_PER_TURN % SINGLES
        for name in names:
            requests = peers[name].singles[start : start + REQUESTS_PER_TURN]
            milliseconds = latencies(connections[name], requests)
            taken[name] += milliseconds if turn >= 2 else []
    client = 1e6 * (time.process_time() - busy) / (len(names) * REQUESTS_PER_TURN * (turns + 2))
    for connection in connections.values():
        connection.close()
    quantiles = {name: _quantiles(values) for name, values in taken.items()}
    detail = {"milliseconds": quantiles, "client_microseconds_a_request": round(client, 1)}
    against = {BARE: "a bare FastAPI route on the booster", BARE_QUIET: "the same, our options"}
    return [
        Figure(
            f"one request, {quantile}",
            peer,
            quantiles[OURS][quantile] / quantiles[name][quantile],
            MAX_TIMES_BARE,
            detail=detail,
        )
        for name, peer in against.items()
        for quantile in ("p50", "p99")
    ]


def _throughput(peers: Mapping[str, Peer], options: Options) -> list[Figure]:
    """All connections busy with single requests, the servers in turn."""
    loads: dict[str, list[Load]] = {name: [] for name in (OURS, MLFLOW, BARE_QUIET)}
    used = {name: -peers[name].server.processor_seconds() for name in loads}
    for turn in range(options.rounds_or(LOAD_ROUNDS)):
        for name, taken in loads.items():
            peer = peers[name]
            taken.append(
                saturate(peer.server.port, peer.singles, CONNECTIONS, LOAD_SECONDS, LOAD_MAX)
            )
        options.say(
            f"load, round {turn + 1}: "
            + ", ".join(
                f"{name} {one[-1].responses_per_second:.0f}/s" for name, one in loads.items()
            )
        )
    for name, taken in loads.items():
        used[name] += peers[name].server.processor_seconds()
        used[name] *= 1000 / sum(one.responses for one in taken)
    rates = {
        name: statistics.median(one.responses_per_second for one in loads[name]) for name in loads
    }
    detail = {
        "responses_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "client_share_of_a_core": {
            name: round(max(one.client_share for one in taken), 2) for name, taken in loads.items()
        },
        "server_processor_milliseconds_an_answer": {
            name: round(milliseconds, 3) for name, milliseconds in used.items()
        },
        "connections": CONNECTIONS,
    }
    against = {MLFLOW: "`mlflow models serve`", BARE_QUIET: "a bare FastAPI route on the booster"}
    return [
        Figure(
            f"single requests a second, {CONNECTIONS} connections",
            peer,
            rates[OURS] / rates[name],
            MIN_TIMES_MLFLOW if name == MLFLOW else None,
            better="higher",
            detail=detail,
        )
        for name, peer in against.items()
    ]


def _long_list(port: int, champion: RegisteredChampion, options: Options) -> Figure:
    """A list over HTTP, from the first byte sent to the last byte read, and the frame, in turn."""
    frame = champion.requests.head(LIST)
    request = post("/predict", champion.bodies(LIST))
    connection = Connection(port)
    minutes = champion.pipeline.predict(frame)
    if [one["predicted_minutes"] for one in _predictions(connection, request)] != minutes.tolist():
        raise RuntimeError("the list's answers are not what the pipeline predicts")
    seconds: dict[str, list[float]] = {"http": [], "pipeline": []}
    for _ in range(options.rounds_or(LIST_ROUNDS)):
        begun = time.perf_counter()
        connection.send(request)
        predicted_at = time.perf_counter()
        champion.pipeline.predict(frame)
        seconds["http"].append(predicted_at - begun)
        seconds["pipeline"].append(time.perf_counter() - predicted_at)
    connection.close()
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    options.say(
        f"a list of {len(frame)}: " + ", ".join(f"{k} {v:.3f} s" for k, v in medians.items())
    )
    return Figure(
        f"a list of {len(frame):,} over HTTP",
        "`pipeline.predict` on the frame",
        medians["http"] / medians["pipeline"],
        MAX_TIMES_PIPELINE,
        detail={"seconds": medians, "request_bytes": len(request)},
    )


def _mixed_load(ours: Peer, champion: RegisteredChampion, options: Options) -> list[Figure]:
    """Single requests at intervals alone, beside lists, and beside lists and explanations."""
    port, bodies = ours.server.port, champion.bodies(LIST)
    list_file, explain_file = options.scratch / "list.http", options.scratch / "explain.http"
    list_file.write_bytes(post("/predict", bodies))
    explain_file.write_bytes(post("/predict?explain=true", bodies[0]))
    alone: list[float] = []
    beside: list[float] = []
    lists: dict[str, list[float]] = {"alone": [], "beside": [], "beside_explanations_too": []}

    def singles() -> list[float]:
        connection = Connection(port)
        taken = paced_latencies(connection, ours.singles, MIXED_SECONDS, MIXED_INTERVAL)
        connection.close()
        return taken

    rounds = options.rounds_or(MIXED_ROUNDS)
    options.say(f"mixed load, {rounds} rounds")
    for _ in range(rounds):
        alone += singles()
        with repeating(port, list_file) as sent:
            time.sleep(MIXED_SECONDS)
        lists["alone"].append(sent.responses_per_second)
        with repeating(port, list_file) as sent:
            singles()
        lists["beside"].append(sent.responses_per_second)
        with repeating(port, list_file) as sent, repeating(port, explain_file):
            beside += singles()
        lists["beside_explanations_too"].append(sent.responses_per_second)
    quantiles = {"alone": _quantiles(alone), "beside": _quantiles(beside)}
    rates = {name: statistics.median(taken) for name, taken in lists.items()}
    return [
        Figure(
            f"mixed load: one request beside lists of {LIST:,} and explanations, p99",
            "one request alone",
            quantiles["beside"]["p99"] / quantiles["alone"]["p99"],
            MAX_TIMES_ALONE,
            detail={"milliseconds": quantiles, "interval_milliseconds": 1000 * MIXED_INTERVAL},
        ),
        Figure(
            f"mixed load: lists of {LIST:,} a second beside single requests",
            "lists alone",
            rates["beside"] / rates["alone"],
            MIN_LISTS_OF_ALONE,
            better="higher",
            detail={"lists_per_second": {name: round(rate, 2) for name, rate in rates.items()}},
        ),
    ]


def _start(champion: RegisteredChampion, options: Options) -> Figure:
    """From the start of the process to the first prediction; it has served this champion before."""
    request = post("/predict", champion.bodies(1)[0])
    seconds = []
    for number in range(options.rounds_or(STARTS)):
        log = options.scratch / f"start_{number}.log"
        command = [sys.executable, *COMMAND, "serve"]
        with answering(command, champion.variables, log, request) as server:
            seconds.append(server.seconds)
    return Figure(
        "from the start to the first prediction",
        "seconds",
        statistics.median(seconds),
        MAX_SECONDS_TO_START,
        unit="s",
        detail={"seconds": [round(value, 2) for value in seconds]},
    )


def _notes(champion: RegisteredChampion) -> list[str]:
    rounds = champion.pipeline[-1].regressor_.get_booster().num_boosted_rounds()
    return [
        f"The champion is what `ml-assets run` trained and registered: XGBoost, {rounds} trees. "
        "Each server has one worker; they run side by side and are measured in turn.",
        "The bare route reads the same JSON by a pydantic model and calls `inplace_predict` with "
        "one thread on a row encoded before: no encoding, no rules, no interval, no log. Once with "
        f"uvicorn's defaults, once with `{' '.join(OUR_OPTIONS)}` as the service has.",
        f"Latency: {TURNS} turns of {REQUESTS_PER_TURN} requests, one keep-alive connection; "
        f"throughput: {CONNECTIONS} connections, {LOAD_ROUNDS} rounds of {LOAD_SECONDS:.0f} s. One "
        "client process on raw sockets; its own cost is in the detail.",
        f"Mixed load: a request every {1000 * MIXED_INTERVAL:.0f} ms, {MIXED_ROUNDS} rounds of "
        f"{MIXED_SECONDS:.0f} s; lists and explanations are sent without pause by processes of "
        "their own.",
        "Every server's answers are first compared with `pipeline.predict`, to the last bit.",
    ]


def _as_split(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"columns": list(body), "data": [list(body.values())]}


def _our_minutes(body: bytes) -> float:
    return float(json.loads(body)["predicted_minutes"])


def _mlflow_minutes(body: bytes) -> float:
    return float(json.loads(body)["predictions"][0])


def _predictions(connection: Connection, request: bytes) -> Sequence[Mapping[str, Any]]:
    answered: list[dict[str, Any]] = json.loads(connection.send(request))["predictions"]
    return answered


def _quantiles(milliseconds: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(milliseconds, (50, 99))
    return {"p50": round(float(p50), 4), "p99": round(float(p99), 4)}


def _path() -> dict[str, str]:
    """MLflow starts ``uvicorn`` by name."""
    return {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}

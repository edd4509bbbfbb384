"""What MLflow's UI shows: names, descriptions and source of runs and versions, and links to it.

Imports no MLflow.
"""

import functools
import getpass
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_assets.evaluation.decision_record import Criterion
from ml_assets.evaluation.leaderboard import as_markdown_table, wrong_distance_table
from ml_assets.evaluation.records import ModelRecord, TrainingSet
from ml_assets.secrets import without_credentials
from ml_assets.storage.model_version import ModelVersion
from ml_assets.training.windows import span
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET

MAX_CHARACTERS = 5000
"""Maximum length of a description: that of a tag on a server with MySQL."""

FEATURES_SHOWN = 5
"""Features in the description of a run; ``features.json`` has all."""

_RULE = "\n\n---\n\n"
"""Markdown between the description of a version and the decision on it."""

MODEL_DESCRIPTION = (
    f"Predicts the {TARGET.title} of a New York taxi ride in {TARGET.unit}. A request has "
    "`PULocationID` and `DOLocationID` (zones 1 to 265), and optionally `trip_distance` (miles, "
    "by default the usual distance of the two zones), `pickup_datetime` (New York time, by default "
    "the present) and `passenger_count`. "
    "The version with the alias `champion` is served; `ml-assets decisions` explains each change."
)


def run_name(family: str, training_set: TrainingSet, dagster_run_id: str) -> str:
    """Return the name of a training's MLflow run: family, test month and Dagster run."""
    return f"{family}, test {span(training_set.months_in('test'))}, {dagster_run_id[:8]}"


def describe_training(
    record: ModelRecord, training_set: TrainingSet, title: str, dagster_run_id: str
) -> str:
    """Return the description of a run in Markdown."""
    lines = [
        f"**{title}**: test RMSE **{_rmse(record.test.rmse)}** on "
        f"{span(training_set.months_in('test'))}{_without(record.usual_rmse)}, validation "
        f"{_rmse(record.validation.rmse)}.",
        f"Fitted on {_months(record.training_months)}, tuned on "
        f"{_months(record.validation_months)} "
        f"({record.trials} trials), on {_trips(training_set)}.",
        *([f"Rows of the fit: {record.rows.description}."] if record.rows else []),
        f"Dagster run `{dagster_run_id}`, asset `{record.model}_model`.",
        *_wrong_distances(record),
    ]
    return _joined(lines, training_set.caveat)


def with_features(
    description: str, importance: Mapping[str, float], sentences: Mapping[str, str]
) -> str:
    """Add the most important features to the description of a run, in Markdown."""
    lines = [
        f"* `{name}` ({share:.0%}): {sentences.get(name, 'no description.')}"
        for name, share in list(importance.items())[:FEATURES_SHOWN]
    ]
    if not description or not lines:
        return description
    return "\n".join([f"{description}\n\nMost important features:\n", *lines])[:MAX_CHARACTERS]


def describe_version(version: ModelVersion, evaluated: ModelRecord | None = None) -> str:
    """Return the description of a registered version in Markdown.

    Args:
        evaluated: The record of its evaluation, for what a wrong distance costs.
    """
    lines = [
        f"**{version.model}**, fitted on {_months(version.training_months)}: test RMSE "
        f"**{version.test_rmse:.3f} {TARGET.symbol}** on {version.test_month}"
        f"{_without(version.test_rmse_usual)}, on {_trips(version)}.",
        *_coverage(version),
    ]
    if version.refit:
        lines.append(
            "Refit on all months, including the test month: the RMSE is that of the fit before."
        )
    if evaluated is not None:
        lines.extend(_wrong_distances(evaluated))
    return _joined(lines, version.caveat)


def with_decision(
    description: str | None,
    outcome: str,
    decided_at: str,
    trigger: str,
    reason: str,
    criteria: list[Criterion],
    request_mix: str,
) -> str:
    """Return a version's description in Markdown with the latest decision on it.

    Args:
        description: The current description; an earlier decision in it is replaced.
        criteria: The criteria; empty for a manual decision.
        request_mix: How many requests state their distance; empty for a manual decision.
    """
    because = f" ({trigger})" if trigger else ""
    lines = [f"**{outcome}** on {decided_at[:16].replace('T', ' ')} UTC{because}: {reason}"]
    marks = [f"* {'✓' if criterion.passed else '✗'} {criterion.name}" for criterion in criteria]
    mix = ["", f"{request_mix}."] if request_mix else []
    decision = "\n".join([*lines, *mix, *([""] if marks else []), *marks])
    training = (description or "").partition(_RULE)[0].rstrip()
    return f"{training}{_RULE}{decision}"[:MAX_CHARACTERS]


def _without(rmse: float | None) -> str:
    """Continue a sentence on the RMSE with the RMSE without a distance; empty if unknown."""
    if rmse is None:
        return ""
    return f" with the metered distance and **{_rmse(rmse)}** without a distance"


def _coverage(version: ModelVersion) -> list[str]:
    """Describe the coverage in both modes; nothing if unknown."""
    modes = (
        ("with the metered distance", version.interval),
        ("without a distance", version.interval_usual),
    )
    known = [
        f"{found.coverage:.1%} {mode}"
        for mode, found in modes
        if found is not None and found.coverage is not None
    ]
    if version.interval is None or not known:
        return []
    covered = " and ".join(known)
    return [f"Its {version.interval.nominal:.0%} intervals cover of the test trips: {covered}."]


def _wrong_distances(record: ModelRecord) -> list[str]:
    """Tabulate what a wrong distance costs; nothing in old records."""
    if not record.distance_errors:
        return []
    table = as_markdown_table(wrong_distance_table(record.distance_errors))
    trips = record.distance_errors[0].rows
    return [f"What a wrong distance costs, on {trips:,} test trips:\n\n{table}"]


def _rmse(value: float) -> str:
    return f"{value:.3f} {TARGET.symbol}"


def _trips(made: TrainingSet | ModelVersion) -> str:
    return "the synthetic sample" if made.synthetic else f"{made.dataset} trips"


def _months(months: Sequence[str]) -> str:
    return span([Month.parse(month) for month in months]) if months else "nothing"


def _joined(lines: list[str], caveat: str | None) -> str:
    return "\n\n".join([*lines, *([] if caveat is None else [f"Caveat: {caveat}"])])[
        :MAX_CHARACTERS
    ]


def pages(uri: str, name: str, version: str, experiment_id: str, run_id: str) -> dict[str, str]:
    """Return links to a version and its run, by name; none if the URI is not that of a server."""
    base = _base(uri)
    if base is None:
        return {}
    found = {"registered_version": f"{base}/models/{name}/versions/{version}"}
    return found | run_page(uri, experiment_id, run_id)


def run_page(uri: str, experiment_id: str, run_id: str) -> dict[str, str]:
    """Return the link to a run, by name; none without a run, or if the URI is not a server."""
    base = _base(uri)
    if base is None or not run_id:
        return {}
    return {"mlflow_run": f"{base}/experiments/{experiment_id}/runs/{run_id}"}


def _base(uri: str) -> str | None:
    """Return the base URL of a server's pages; None when the URI is not a server."""
    if not uri.startswith(("http://", "https://")):
        return None
    return f"{without_credentials(uri).replace('://***@', '://').rstrip('/')}/#"


def ui_command(uri: str) -> str:
    """Return the command that opens a database-backed store in MLflow's UI."""
    return f"mlflow ui --backend-store-uri {shlex.quote(without_credentials(uri))}"


_GIT_SECONDS = 5


def source_tags(asset: str) -> dict[str, str]:
    """Return the tags from which MLflow shows the source of a run."""
    tags = {"mlflow.source.type": "JOB", "mlflow.source.name": f"Dagster asset {asset}"}
    return tags | _user() | _commit()


@functools.cache
def _user() -> dict[str, str]:
    try:
        return {"mlflow.user": getpass.getuser()}
    except (OSError, KeyError):  # a user without a name, as in some containers
        return {}


@functools.cache
def _commit() -> dict[str, str]:
    """Return the commit of the checkout; empty outside a checkout, and without git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        found = subprocess.run(
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": found.stdout.strip()}

"""What MLflow shows in words: names of runs, and the descriptions of runs and versions."""

from collections.abc import Sequence

from ml_assets.evaluation.records import Criterion, ModelRecord, TrainingSet
from ml_assets.storage.model_version import ModelVersion
from ml_assets.training.windows import span
from ml_assets.trips.month import Month

MAX_CHARACTERS = 5000
"""Length of a description: a server on MySQL keeps no longer tag."""

_RULE = "\n\n---\n\n"
"""Markdown between what a version is and what was decided on it."""

MODEL_DESCRIPTION = (
    "Minutes of a New York taxi trip, from what is known when it is requested. A request has "
    "`PULocationID` and `DOLocationID` (zones 1 to 265), `trip_distance` (miles), and optionally "
    "`pickup_datetime` (New York time, by default the present) and `passenger_count`. "
    "The version with the alias `champion` serves; `ml-assets decisions` explains every change."
)


def run_name(family: str, training_set: TrainingSet, dagster_run_id: str) -> str:
    """The name of the run of a training: its family, its test month and the Dagster run.

    Args:
        family: Name of the model family.
        training_set: Names the test month.
        dagster_run_id: The run that trains; its first 8 characters tell trainings apart.
    """
    return f"{family}, test {span(training_set.months_in('test'))}, {dagster_run_id[:8]}"


def describe_training(
    record: ModelRecord, training_set: TrainingSet, title: str, dagster_run_id: str
) -> str:
    """The description of a run, in Markdown.

    Args:
        record: Figures of the model.
        training_set: What it was trained on.
        title: Name of the family for people.
        dagster_run_id: The run that trained it.
    """
    lines = [
        f"**{title}**: test RMSE **{record.test.rmse:.3f} min** on "
        f"{span(training_set.months_in('test'))}, validation {record.validation.rmse:.3f} min.",
        f"Fitted on {_months(record.training_months)}, tuned on "
        f"{_months(record.validation_months)} "
        f"({record.trials} trials), on {_trips(training_set)}.",
        f"Dagster run `{dagster_run_id}`, asset `{record.model}_model`.",
    ]
    return _joined(lines, training_set.caveat)


def describe_version(version: ModelVersion) -> str:
    """The description of a registered version, in Markdown.

    Args:
        version: With the figures of its test month.
    """
    lines = [
        f"**{version.model}**, fitted on {_months(version.training_months)}: test RMSE "
        f"**{version.test_rmse:.3f} min** on {version.test_month}, on {_trips(version)}.",
    ]
    if version.refit:
        lines.append(
            "Fitted again on all months, the test month included: the RMSE is that of the "
            "fit before."
        )
    return _joined(lines, version.caveat)


def with_decision(
    description: str | None,
    outcome: str,
    decided_at: str,
    started_because: str,
    reason: str,
    criteria: list[Criterion],
) -> str:
    """The description of a version with the newest decision on it, in Markdown.

    Args:
        description: As it is; an earlier decision in it is replaced.
        outcome: Such as ``promoted``.
        decided_at: ISO 8601.
        started_because: Why the decision was made.
        reason: The reason.
        criteria: What it had to show; empty when a person decided.
    """
    because = f" ({started_because})" if started_because else ""
    lines = [f"**{outcome}** on {decided_at[:16].replace('T', ' ')} UTC{because}: {reason}"]
    marks = [f"* {'✓' if criterion.passed else '✗'} {criterion.name}" for criterion in criteria]
    decision = "\n".join([*lines, *([""] if marks else []), *marks])
    training = (description or "").partition(_RULE)[0].rstrip()
    return f"{training}{_RULE}{decision}"[:MAX_CHARACTERS]


def _trips(made: TrainingSet | ModelVersion) -> str:
    return "the synthetic sample" if made.synthetic else f"{made.dataset} trips"


def _months(months: Sequence[str]) -> str:
    return span([Month.parse(month) for month in months]) if months else "nothing"


def _joined(lines: list[str], caveat: str | None) -> str:
    return "\n\n".join([*lines, *([] if caveat is None else [f"Caveat: {caveat}"])])[
        :MAX_CHARACTERS
    ]

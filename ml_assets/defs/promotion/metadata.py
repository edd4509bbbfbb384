"""What the page of ``champion_model`` shows of a decision, and of those before it."""

from collections.abc import Mapping, Sequence

import dagster as dg

from ml_assets.defs.metadata import figure, table
from ml_assets.evaluation.records import ChampionDecision, Criterion

_SHOWN_DECISIONS = 20


def decision_metadata(
    decision: ChampionDecision, history: Sequence[ChampionDecision]
) -> dict[str, dg.MetadataValue]:
    """A summary in words first, then facts, criteria and the history, newest first.

    Dagster shows the entries in this order, in a column of 500 px where the window has 1500.

    Args:
        decision: The one that was just made.
        history: All, oldest first.
    """
    texts = {
        "summary": decision.summary,
        "champion": decision.champion or "no champion",
        "registry_version": decision.registry_version or "none",
        "decision": decision.outcome,
        "trigger": decision.trigger,
        "reason": decision.reason,
    }
    further_texts = {
        "fit": decision.description,
        "challenger": _named(decision.challenger, decision.challenger_version),
        "test_month": decision.test_month,
        "trips": "synthetic sample" if decision.synthetic else decision.dataset or "unknown trips",
        "caveat": decision.caveat,
        "scoring_error": decision.scoring_error,
        "decision_id": decision.decision_id,
    }
    figures = {
        "test_rmse": decision.test_rmse,
        "seconds": decision.seconds,
        "cpu_seconds": decision.cpu_seconds,
    }
    shown = _texts(texts)
    shown |= {name: figure(value) for name, value in figures.items() if value is not None}
    if decision.criteria:
        shown["criteria"] = table([_criterion(criterion) for criterion in decision.criteria])
    if decision.other_candidates:
        shown["other_candidates"] = table(
            [
                {"candidate": _named(other.model, other.version), "refused": other.reason}
                for other in decision.other_candidates
            ]
        )
    shown["decisions"] = table([_line(entry) for entry in reversed(history[-_SHOWN_DECISIONS:])])
    return shown | _texts(further_texts)


def _texts(texts: Mapping[str, str | None]) -> dict[str, dg.MetadataValue]:
    return {name: dg.MetadataValue.text(text) for name, text in texts.items() if text}


def _criterion(criterion: Criterion) -> dict[str, object]:
    """Its name with spaces, at which the page may break it."""
    return {
        "passed": "yes" if criterion.passed else "no",
        "criterion": criterion.name.replace("_", " "),
        "finding": criterion.finding,
    }


def _named(model: str | None, version: str | None) -> str | None:
    return model if version is None or model is None else f"{model}, version {version}"


def _line(decision: ChampionDecision) -> dict[str, object]:
    """A decision in a line that fits on the page; `ml-assets decisions ID` has all of it."""
    return {
        "when": decision.decided_at[:16].replace("T", " "),
        "outcome": decision.outcome,
        "serves": _named(decision.champion, decision.registry_version) or "nothing",
        "decision": decision.decision_id,
    }

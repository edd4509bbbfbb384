"""What the page of ``champion_model`` shows of a decision, and of those before it."""

from collections.abc import Sequence
from textwrap import shorten

import dagster as dg

from ml_assets.assets.metadata import figure, table
from ml_assets.modeling.records import ChampionDecision

_SHOWN_DECISIONS = 20
_MOST_CHARACTERS = 70


def decision_metadata(
    decision: ChampionDecision, history: Sequence[ChampionDecision]
) -> dict[str, dg.MetadataValue]:
    """Figures, criteria and the history, newest first.

    Args:
        decision: The one that was just made.
        history: All, oldest first.
    """
    texts = {
        "decision": decision.outcome,
        "reason": decision.reason,
        "started_because": decision.started_because,
        "champion": decision.champion or "nothing serves",
        "registry_version": decision.registry_version or "none",
        "served": decision.served,
        "challenger": _named(decision.challenger, decision.challenger_version),
        "judged_month": decision.judged_month,
        "trips": "synthetic sample" if decision.synthetic else decision.dataset or "unknown trips",
        "caveat": decision.caveat,
        "unscored": decision.unscored,
        "decision_id": decision.decision_id,
    }
    figures = {
        "test_rmse": decision.test_rmse,
        "seconds": decision.seconds,
        "cpu_seconds": decision.cpu_seconds,
    }
    metadata: dict[str, dg.MetadataValue] = {
        name: dg.MetadataValue.text(text) for name, text in texts.items() if text
    }
    metadata |= {name: figure(value) for name, value in figures.items() if value is not None}
    if decision.criteria:
        metadata["criteria"] = table(
            [
                {
                    "criterion": criterion.name,
                    "shown": "yes" if criterion.passed else "NO",
                    "finding": criterion.finding,
                }
                for criterion in decision.criteria
            ]
        )
    if decision.other_challengers:
        metadata["other_challengers"] = table(
            [
                {"challenger": _named(other.model, other.version), "refused": other.reason}
                for other in decision.other_challengers
            ]
        )
    metadata["decisions"] = table([_line(entry) for entry in reversed(history[-_SHOWN_DECISIONS:])])
    return metadata


def _named(model: str | None, version: str | None) -> str | None:
    return model if version is None or model is None else f"{model}, version {version}"


def _line(decision: ChampionDecision) -> dict[str, object]:
    """A decision in a line that fits on the page; `ml-assets decisions ID` has all of it."""
    return {
        "decision": decision.decision_id,
        "when": decision.decided_at[:16].replace("T", " "),
        "outcome": decision.outcome,
        "serves": _named(decision.champion, decision.registry_version) or "nothing",
        "judged_month": decision.judged_month,
        "started_because": shorten(decision.started_because, _MOST_CHARACTERS, placeholder=" …"),
        "reason": shorten(decision.reason, _MOST_CHARACTERS, placeholder=" …"),
    }

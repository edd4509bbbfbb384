"""Names that records and MLflow tags had before version 0.2, and the ones that replaced them.

What was stored under a former name stays readable; everything is written under the present one.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, model_validator

FIELDS: Final = {
    "carried_out": "applied",
    "champion_before": "previous_champion",
    "computed": "computed_entries",
    "fit_on": "refit_on_validation",
    "fitted_on": "training_months",
    "hold": "manual_override",
    "judged_month": "test_month",
    "known_minutes": "fingerprint",
    "left": "pending_months",
    "lost": "dropped",
    "most_rows": "max_rows",
    "other_challengers": "other_candidates",
    "replaces": "replaced_version",
    "saw_judged_month": "trained_on_test_month",
    "serve": "refit",
    "served": "description",
    "started_because": "trigger",
    "tuned_on": "validation_months",
    "unscored": "scoring_error",
}
"""Former to present name of a record's field, or of a version's tag."""

ASSETS: Final = {"request_log_metrics": "online_predictions"}
"""Former name of an asset by its present one: a record is read from the folder of either."""

VALUES: Final[Mapping[str, Mapping[str, Any]]] = {
    "name": {
        "better_by_paired_bootstrap": "significant_improvement",
        "champion_may_be_replaced": "same_dataset",
        "guarded_slice": "slice_guardrail",
        "on_equal_terms": "fair_comparison",
        "on_new_data": "newer_than_manual_override",
        "serving_speed": "latency",
    },
    "refit": {"judged": False, "refitted_on_all_months": True},
    "refit_on_validation": {"train": False, "train_and_tune": True},
    "role": {"tune": "validation", "judge": "test"},
    "status": {
        "nothing_serves": "no_champion",
        "other_dataset": "dataset_mismatch",
        "unscorable": "scoring_failed",
    },
}
"""Former to present value, by the present name of the field; of ``a: b`` the part ``a`` counts."""


DROPPED: Final = "lost_answers"
"""Former name of the request log's field ``dropped``."""


class StoredRecord(BaseModel):
    """A record that is also read from files that have its fields and values under former names."""

    @model_validator(mode="before")
    @classmethod
    def _read_former(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        fields = cls.model_fields
        former = {name for name in data if name not in fields and FIELDS.get(name) in fields}
        present = with_present_names({name: data[name] for name in former})
        present |= {name: value for name, value in data.items() if name not in former}
        return {name: _present_value(name, value) for name, value in present.items()}


def with_present_names(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return tags or parameters under their present names; of two names the present one counts."""
    former = {
        FIELDS[name]: _present_value(FIELDS[name], value)
        for name, value in tags.items()
        if name in FIELDS
    }
    return former | {name: value for name, value in tags.items() if name not in FIELDS}


def all_names(name: str) -> list[str]:
    """Return a field's or tag's present name and its former ones."""
    return [name, *(former for former, present in FIELDS.items() if present == name)]


def _present_value(name: str, value: Any) -> Any:
    if not isinstance(value, str) or name not in VALUES:
        return value
    first, colon, rest = value.partition(": ")
    present = VALUES[name].get(first, first)
    return f"{present}{colon}{rest}" if colon else present

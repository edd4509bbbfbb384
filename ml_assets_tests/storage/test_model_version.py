"""A registered version as one record: what its tags keep of it, and what older tags tell."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from ml_assets.serving.bundle import ModelCard
from ml_assets.storage.model_version import (
    IntervalFigures,
    ManualOverride,
    ModelVersion,
    describe_fit,
)

MONTHS = ("2023-01", "2023-02", "2023-03")
WHOLE = ModelVersion(
    version="7",
    model="xgboost",
    run_id="r",
    source="models:/m-1",
    dataset="green",
    synthetic=False,
    training_set="0123",
    training_months=MONTHS,
    validation_months=("2023-02",),
    test_month="2023-03",
    test_rmse=4.25,
    interval=IntervalFigures(nominal=0.8, coverage=0.79, mean_width=10.5),
    test_rmse_usual=5.25,
    interval_usual=IntervalFigures(nominal=0.8, coverage=0.81, mean_width=13.5),
    refit=True,
    description=describe_fit(True, MONTHS),
    caveat="two months only",
    fingerprint=(1.5, 2.25),
    manual_override=ManualOverride(
        kind="rollback", reason="errs", test_month="2023-03", raw_sha256="a"
    ),
    replaced_version="6",
)


def registered(tags, **facts):
    """A version as MLflow hands it out."""
    given = {"version": 7, "run_id": "r", "source": "models:/m-1", **facts}
    return SimpleNamespace(tags=tags, **given)


def test_the_tags_of_a_version_make_it_again():
    assert ModelVersion.from_mlflow(registered(WHOLE.to_tags())) == WHOLE


@pytest.mark.parametrize("refit", [True, False])
def test_which_fit_serves_is_a_tag_and_no_sentence(refit):
    """Whatever the description says, in whatever words."""
    tags = {**WHOLE.to_tags(), "refit": str(refit).lower(), "description": "in other words"}
    assert ModelVersion.from_mlflow(registered(tags)).refit is refit


@pytest.mark.parametrize(
    ("served", "refit"),
    [
        ("refitted_on_all_months: fitted on 2023-01; figures are those of the judged fit", True),
        ("judged: fitted on 2023-01", False),
        ("", False),
    ],
)
def test_a_version_registered_before_there_was_the_tag_is_read_by_its_description(served, refit):
    assert ModelVersion.from_mlflow(registered({"served": served})).refit is refit


def test_a_version_without_tags_of_this_project_is_read_as_unknown():
    bare = ModelVersion.from_mlflow(registered({}, run_id=None))
    assert (bare.version, bare.model, bare.run_id) == ("7", "unknown", "")
    assert (bare.test_rmse, bare.interval, bare.manual_override, bare.fingerprint) == (None,) * 4
    assert (bare.test_rmse_usual, bare.interval_usual) == (None, None)
    assert bare.newest_month is None
    assert not bare.has_seen("")


def test_clients_see_the_card_without_the_registry_s_own_business():
    shown = ModelCard.of(WHOLE, datetime(2026, 1, 1, tzinfo=UTC)).model_dump()
    assert {"version", "alias", "refit", "interval", "loaded_at"} <= set(shown)
    assert shown["interval"]["target_coverage"] == 0.8
    assert (shown["test_rmse"], shown["test_rmse_usual"]) == (4.25, 5.25)
    assert (shown["interval"]["coverage"], shown["interval_usual"]["coverage"]) == (0.79, 0.81)
    assert not {"manual_override", "fingerprint", "source", "run_id", "replaced_version"} & set(
        shown
    )

"""The plan of a training: rows, memory and time before the fit, and a refusal with advice."""

import re

import pytest

from ml_assets.training.families import FAMILIES
from ml_assets.training.plan import MAX_SHARE, DoesNotFit, plan_training
from ml_assets_tests.cli.test_leaderboard import row

GB = 1_000_000_000
YEAR = {"train": [3_000_000] * 10, "validation": [3_000_000], "test": [3_000_000]}


def test_a_year_of_yellow_trips_fits_a_laptop_with_all_families():
    plan = plan_training(list(FAMILIES), YEAR)
    for each in plan.families:
        assert each.available == 33_000_000
        assert each.rows == FAMILIES[each.family].max_rows
    assert plan.memory < 8 * GB
    plan.require_memory(10 * GB)


def test_more_months_need_no_more_memory():
    longer = YEAR | {"train": [3_000_000] * 20}
    assert plan_training(list(FAMILIES), longer).memory == plan_training([*FAMILIES], YEAR).memory


def test_what_does_not_fit_is_refused_with_the_rows_that_do():
    plan = plan_training(["linear_regression", "xgboost"], YEAR, "all")
    with pytest.raises(DoesNotFit) as refused:
        plan.require_memory(8 * GB)
    message = str(refused.value)
    assert "most of it is for linear_regression on 33,000,000 trips" in message
    assert "leave out linear_regression (--models)" in message
    assert "leave out xgboost" not in message, "it would not help"
    assert "take fewer months" in message
    assert "ML_ASSETS_SIDE_BY_SIDE" not in message
    fitting = re.search(r"--max-rows (\d+)", message)
    assert fitting is not None
    both = ["linear_regression", "xgboost"]
    plan_training(both, YEAR, int(fitting[1])).require_memory(8 * GB)
    with pytest.raises(DoesNotFit):
        plan_training(both, YEAR, int(fitting[1]) + 10_000).require_memory(8 * GB)
    plan.require_memory(None)  # a system that does not tell refuses nothing


def test_a_refusal_of_bounded_fits_names_what_helps():
    plan = plan_training(list(FAMILIES), YEAR)
    with pytest.raises(DoesNotFit) as refused:
        plan.require_memory(5 * GB)
    message = str(refused.value)
    assert "may take 90% of the 5.0 GB available" in message
    assert "ML_ASSETS_SIDE_BY_SIDE=off" in message
    plan_training(list(FAMILIES), YEAR, side_by_side=False).require_memory(5 * GB)
    fitting = re.search(r"--max-rows (\d+)", message)
    assert fitting is not None
    plan_training(list(FAMILIES), YEAR, int(fitting[1])).require_memory(5 * GB)
    assert "take fewer months" not in message, "the rows are bounded"
    with pytest.raises(DoesNotFit, match=r"\): give it more memory$"):
        plan_training(["lasso"], YEAR, 1_000).require_memory(1 * GB)


def test_rows_between_memory_and_disk():
    in_memory, on_disk = (
        plan_training(["xgboost"], {"train": [rows], "validation": [], "test": [10]}, "all")
        for rows in (11_000_000, 13_000_000)
    )
    assert in_memory.families[0].memory == 2_000_000 * 900 + 9_000_000 * 90
    assert on_disk.families[0].memory == 2_000_000 * 900 + 11_000_000 * 50


def test_xgboost_takes_all_rows_in_parts():
    (xgboost,) = plan_training(["xgboost"], YEAR, "all").families
    assert (xgboost.rows, xgboost.in_parts) == (33_000_000, True)
    assert xgboost.memory < 4 * GB
    (forest,) = plan_training(["random_forest"], YEAR, "all").families
    assert not forest.in_parts
    assert forest.memory > 15 * GB


def test_the_time_is_that_of_the_last_training_by_rows():
    fitted = {"fitted": 500_000, "available": 500_000}
    times = {"seconds": 60.0, "fit_seconds": 40.0}
    last = {"lasso": row("lasso", 4.0).model_copy(update=times)}
    assert plan_training(["lasso"], YEAR, "default", last).seconds is None  # its rows are unknown
    known = type(last["lasso"]).model_validate(last["lasso"].model_dump() | {"rows": fitted})
    plan = plan_training(["lasso"], YEAR, 1_000_000, {"lasso": known})
    assert plan.seconds == pytest.approx(100)
    assert plan.lines(16 * GB) == [
        "lasso: 1,000,000 of 33,000,000 trips, 2.0 GB, 100 s by its last training",
        f"training: about {plan.memory / GB:.1f} GB of memory of 16.0 GB available, 100 s by the "
        "last training",
    ]
    assert plan_training(["lasso"], YEAR, 1_600_000, {"lasso": known}).seconds is None


def test_families_side_by_side_need_their_memory_together():
    both = ["lasso", "xgboost"]
    together, apart = (plan_training(both, YEAR, side_by_side=on).memory for on in (True, False))
    assert together > apart
    alone = plan_training(["xgboost"], YEAR)
    assert plan_training(["xgboost"], YEAR, side_by_side=False).memory == alone.memory
    assert 0 < MAX_SHARE < 1


def test_families_side_by_side_take_the_time_of_the_longer_half():
    def last(name: str, seconds: float):
        found = row(name, 4.0).model_copy(update={"seconds": seconds, "fit_seconds": 1.0})
        fitted = {"fitted": 1_000_000, "available": 33_000_000}
        return type(found).model_validate(found.model_dump() | {"rows": fitted})

    names = {"lasso": 50.0, "linear_svr": 30.0, "random_forest": 60.0, "extra_trees": 10.0}
    known = {name: last(name, seconds) for name, seconds in names.items()}
    together, apart = (
        plan_training(list(names), YEAR, "default", known, side_by_side=on).seconds
        for on in (True, False)
    )
    assert together == pytest.approx(80)
    assert apart == pytest.approx(150)


def test_a_refusal_of_all_rows_names_the_families_that_fit():
    """XGBoost reads all rows in parts; a user who wants all of them can have them with it."""
    with pytest.raises(DoesNotFit) as refused:
        plan_training(list(FAMILIES), YEAR, "all").require_memory(16 * GB)
    assert "train xgboost only (--models xgboost)" in str(refused.value)
    assert "leave out" not in str(refused.value), "no single family is enough"
    plan_training(["xgboost"], YEAR, "all").require_memory(16 * GB)
    with pytest.raises(DoesNotFit) as refused:
        plan_training(list(FAMILIES), YEAR, "all").require_memory(2 * GB)
    assert "--models" not in str(refused.value), "no family fits"

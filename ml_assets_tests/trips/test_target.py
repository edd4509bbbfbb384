"""The target: one definition, whose names outsiders rely on."""

import ast
from dataclasses import replace

import pytest

from ml_assets.config.settings import PROJECT_FOLDER
from ml_assets.trips.target import DURATION, TARGET


def test_the_names_that_outsiders_rely_on():
    assert TARGET is DURATION
    assert TARGET.name == "duration_minutes"
    assert TARGET.prediction_fields == ("predicted_minutes", "lower_minutes", "upper_minutes")
    assert TARGET.baseline_field == "baseline_minutes"
    assert TARGET.model_name == "taxi-trip-duration"
    assert TARGET.bounds == "1 to 60 minutes"


@pytest.mark.parametrize(("lower", "upper"), [(0, 60), (-1, 60), (60, 60), (61, 60)])
def test_bounds_must_be_above_0_and_in_order(lower, upper):
    with pytest.raises(ValueError, match=f"duration_minutes has the bounds {lower} and {upper}"):
        replace(DURATION, lower=lower, upper=upper)


def test_no_other_module_names_its_column_or_the_fields_of_a_prediction():
    names = {TARGET.name, TARGET.baseline_field, *TARGET.prediction_fields}
    found = [
        (path.name, node.value)
        for path in (PROJECT_FOLDER / "ml_assets").rglob("*.py")
        if path.name != "target.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert found == []

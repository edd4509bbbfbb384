"""Which changes of the source outdate months, and which outdate models."""

import shutil

import pytest

from ml_assets.config.code_version import DATA, MODEL, code_digest
from ml_assets_tests.conftest import REPOSITORY


@pytest.fixture
def package(tmp_path):
    """A copy of the package's source that a test may change."""
    return shutil.copytree(
        REPOSITORY / "ml_assets",
        tmp_path / "ml_assets",
        ignore=shutil.ignore_patterns("__pycache__"),
    )


def changed_by(package, file, change):
    """Which of the two code versions another text of a file changes."""
    before = versions(package)
    path = package / file
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    code_digest.cache_clear()
    return {name for name, digest in versions(package).items() if digest != before[name]}


def versions(package):
    code_digest.cache_clear()
    return {
        "data": code_digest(*DATA, package=package),
        "model": code_digest(*MODEL, package=package),
    }


def comment(text):
    return f"{text}\n# a remark\n"


def docstring(text):
    return text.replace('"""', '"""Really: ', 1)


def layout(text):
    return text.replace("\n\n\n", "\n\n\n\n\n", 1)


def statement(text):
    return f"{text}\nANOTHER = 1\n"


@pytest.mark.parametrize("change", [comment, docstring, layout])
@pytest.mark.parametrize(
    "file", ["trips/cleaning.py", "pipeline/features.py", "training/families/default.py"]
)
def test_comments_docstrings_and_layout_outdate_nothing(package, file, change):
    assert changed_by(package, file, change) == set()


@pytest.mark.parametrize(
    "file",
    ["reporting/charts.py", "evaluation/leaderboard.py", "trips/sample/generate.py",
     "trips/quality/volume_rules.py", "storage/trip_store.py", "defs/training/models.py"],
)  # fmt: skip
def test_charts_tables_and_whatever_else_outdate_nothing(package, file):
    assert changed_by(package, file, statement) == set()


@pytest.mark.parametrize(
    "file",
    ["trips/cleaning.py", "trips/request_columns.py", "trips/published_schema.py", "trips/schema.py",
     "trips/zones.py", "trips/taxi_zones.csv"],
)  # fmt: skip
def test_how_months_are_cleaned_outdates_months_and_models(package, file):
    assert changed_by(package, file, statement) == {"data", "model"}


@pytest.mark.parametrize(
    "file",
    ["pipeline/features.py", "training/families/default.py", "training/fit.py",
     "training/tune.py", "requests/pickup_time.py"],
)  # fmt: skip
def test_how_models_are_fitted_outdates_models_only(package, file):
    """Pick-up times are read in a module of their own, which the features import."""
    assert changed_by(package, file, statement) == {"model"}


def test_a_part_that_is_gone_is_named(package):
    with pytest.raises(
        FileNotFoundError, match=r"trips/brushing.py, a part of the code version, does not exist"
    ):
        code_digest("trips/brushing.py", package=package)

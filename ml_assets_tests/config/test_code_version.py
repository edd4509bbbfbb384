"""Which changes of the source outdate months, and which outdate models."""

import shutil

import pytest

from ml_assets.config.code_version import DATA, MODEL, code_digest
from ml_assets_tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the package's source, and its two code versions."""
    package = shutil.copytree(
        REPOSITORY / "ml_assets",
        tmp_path_factory.mktemp("source") / "ml_assets",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return package, versions(package)


@pytest.fixture
def changed_by(copied):
    """Return which of the two code versions another text of a file changes."""
    package, before = copied
    texts = {}

    def changed_by(file, change):
        path = package / file
        texts[path] = path.read_text()
        path.write_text(change(texts[path]))
        assert path.read_text() != texts[path]
        return {name for name, digest in versions(package).items() if digest != before[name]}

    yield changed_by
    for path, text in texts.items():
        path.write_text(text)
    code_digest.cache_clear()


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
def test_comments_docstrings_and_layout_outdate_nothing(changed_by, file, change):
    assert changed_by(file, change) == set()


@pytest.mark.parametrize(
    "file",
    ["reporting/charts.py", "evaluation/leaderboard.py", "trips/sample/generate.py",
     "trips/quality/volume_rules.py", "storage/trip_store.py", "defs/training/models.py"],
)  # fmt: skip
def test_charts_tables_and_whatever_else_outdate_nothing(changed_by, file):
    assert changed_by(file, statement) == set()


@pytest.mark.parametrize(
    "file",
    ["trips/cleaning.py", "trips/request_columns.py", "trips/published_schema.py", "trips/schema.py",
     "trips/zones.py", "trips/taxi_zones.csv"],
)  # fmt: skip
def test_how_months_are_cleaned_outdates_months_and_models(changed_by, file):
    assert changed_by(file, statement) == {"data", "model"}


@pytest.mark.parametrize(
    "file",
    ["pipeline/features.py", "training/families/default.py", "training/fit.py",
     "training/tune.py", "requests/pickup_time.py"],
)  # fmt: skip
def test_how_models_are_fitted_outdates_models_only(changed_by, file):
    """Pick-up times are read in a module of their own, which the features import."""
    assert changed_by(file, statement) == {"model"}


def test_a_part_that_is_gone_is_named(copied):
    with pytest.raises(
        FileNotFoundError, match=r"trips/brushing.py, a part of the code version, does not exist"
    ):
        code_digest("trips/brushing.py", package=copied[0])

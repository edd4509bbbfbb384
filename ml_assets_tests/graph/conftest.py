"""Fixtures of tests of the asset graph."""

import pytest

from ml_assets_tests.graph.good_home import GoodHome, make_good_home


@pytest.fixture(scope="session")
def good_home(tmp_path_factory: pytest.TempPathFactory) -> GoodHome:
    """A consistent home, to be copied and not changed."""
    return make_good_home(tmp_path_factory.mktemp("good"))

"""Fixtures of the whole graph."""

import pytest

from ml_assets_tests.graph.good_home import GoodHome, make_good_home


@pytest.fixture(scope="session")
def good_home(tmp_path_factory: pytest.TempPathFactory) -> GoodHome:
    """A home in order, to be copied and not to be changed."""
    return make_good_home(tmp_path_factory.mktemp("good"))

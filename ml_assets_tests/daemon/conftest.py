"""Fixtures of tests with a running daemon."""

from ml_assets_tests.graph.conftest import good_home

__all__ = ["good_home"]

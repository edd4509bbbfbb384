"""The ``ml-assets`` command: the same work without the UI."""

from ml_assets.cli.main import main

__all__ = ["main"]

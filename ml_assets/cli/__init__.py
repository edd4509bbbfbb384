"""The ``ml-assets`` command: all work without the UI."""

from ml_assets.cli.main import main

__all__ = ["main"]

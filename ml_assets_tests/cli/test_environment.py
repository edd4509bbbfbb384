"""Printed commands work in any folder; tables are printed with all figures."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from ml_assets.backtesting.records import BacktestEntry, BacktestRecord
from ml_assets.cli.backtest import print_backtest
from ml_assets.cli.console import print_table
from ml_assets.cli.environment import executable, given_variables, next_command
from ml_assets.config.environment import variable_names
from ml_assets.config.settings import Settings, read_settings


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Variables as a user sets them in a folder with a space, relative to it."""
    (tmp_path / "my trips").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in (*variable_names(Settings), "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ML_ASSETS_HOME", "my home")
    monkeypatch.setenv("ML_ASSETS_TRIPS", "my trips")
    return tmp_path


def test_a_printed_command_works_in_another_folder(environment, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).parent / "ml-assets")])
    command = next_command(read_settings(), "months --json")
    for name in ("ML_ASSETS_HOME", "ML_ASSETS_TRIPS"):
        monkeypatch.delenv(name)
    done = subprocess.run(command, shell=True, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f'"source": "{environment}/my trips"' in done.stdout


def test_variables_are_quoted_and_passwords_left_out(environment, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example.org")
    monkeypatch.setenv("DAGSTER_HOME", "elsewhere")
    assert given_variables(read_settings(), without=("ML_ASSETS_TRIPS",)) == (
        f"ML_ASSETS_HOME='{environment}/my home' DAGSTER_HOME={environment}/elsewhere "
    )


def test_the_command_is_named_as_the_shell_finds_it(tmp_path, monkeypatch):
    called = tmp_path / "bin" / "ml-assets"
    called.parent.mkdir()
    called.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    assert executable("bin/ml-assets") == str(called)
    monkeypatch.setenv("PATH", str(called.parent), prepend=os.pathsep)
    assert executable(str(called)) == "ml-assets"
    own = str(Path(sys.executable).parent / "ml-assets")
    for odd in ("-c", "/usr/lib/python3/ml_assets/__main__.py", ""):
        assert executable(odd) == own


@pytest.mark.parametrize("width", [80, 40])
def test_a_narrow_window_truncates_no_figure(width):
    shown = io.StringIO()
    table = Table()
    for header in ("model", "validation RMSE", "in 5 min"):
        table.add_column(header)
    table.add_row("linear_regression of all trips", "12,345.678", "81.6%")
    print_table(Console(file=shown, width=width), table)
    for part in ("linear_regression of all trips", "12,345.678", "81.6%", "validation"):
        assert part in shown.getvalue()


def backtest_of(entries):
    """A backtest with these entries, and without a champion."""
    return BacktestRecord(
        dataset="green", synthetic=False, train_months=3, max_rows=9, champion=None,
        entries=entries,
    )  # fmt: skip


def test_a_backtest_of_many_months_is_printed_in_tables_of_80_columns():
    entries = [
        BacktestEntry(
            month=f"2023-{month:02}", model="global_mean", kind="baseline", rmse=month + 0.125,
            mae=1.0, relative_error=0.5, trips=10, mean_predicted=1.0, mean_actual=1.0,
            trained_on=[], training_rows=1, parameters="none", parameters_saw_month=False,
            inputs="",
        )
        for month in range(1, 13)
    ]  # fmt: skip
    made = backtest_of(entries)
    shown = io.StringIO()
    print_backtest(Console(file=shown, width=80), made)
    for entry in entries:
        assert entry.month in shown.getvalue() and f"{entry.rmse:.3f}" in shown.getvalue()
    tables = [line for line in shown.getvalue().splitlines() if line.startswith(("┃", "│"))]
    assert max(map(len, tables)) <= 80


def test_a_backtest_is_printed_with_and_without_a_distance():
    entries = [
        BacktestEntry(
            month=month, model=model, kind="family", rmse=rmse, rmse_usual=usual, mae=1.0,
            relative_error=0.5, trips=10, mean_predicted=1.0, mean_actual=1.0, trained_on=[],
            training_rows=1, parameters="default", parameters_saw_month=False, inputs="",
        )
        for month in ("2023-04", "2023-05", "2023-06", "2023-07")
        for model, rmse, usual in (("lasso", 4.125, 15.5), ("xgboost", 4.25, 15.25))
    ]  # fmt: skip
    made = backtest_of(entries)
    shown = io.StringIO()
    print_backtest(Console(file=shown, width=80, force_terminal=True, highlight=False), made)
    text = shown.getvalue()
    bold, plain = "\x1b[1m", "\x1b[0m"
    assert f"{bold}4.125{plain} / 15.500" in text, "the best of each mode is bold"
    assert f"4.250 / {bold}15.250{plain}" in text
    assert "RMSE in minutes, with the metered distance / without a distance" in text
    for month in ("2023-04", "2023-07"):
        assert month in text
    tables = [line for line in text.splitlines() if line.startswith(("┃", "│"))]
    assert max(len(re.sub("\x1b.*?m", "", line)) for line in tables) <= 80


def test_the_installed_command_runs():
    command = Path(sys.executable).parent / "ml-assets"
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "ml-assets [OPTIONS] COMMAND" in done.stdout


def test_the_help_loads_no_model_library():
    heavy = "{'mlflow', 'sklearn', 'xgboost', 'optuna', 'matplotlib'}"
    code = (
        "import sys; sys.argv = ['ml-assets', '--help']\n"
        "from ml_assets.cli import main\n"
        "try: main()\n"
        f"except SystemExit: print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "backtest" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"

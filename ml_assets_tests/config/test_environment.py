"""Variables from ``.env``: of the working directory, once, below those that are set."""

import subprocess
import sys
import traceback
from datetime import timedelta

import pytest

from ml_assets.config.alert_settings import read_alert_settings
from ml_assets.config.environment import SettingsError
from ml_assets.config.settings import read_settings
from ml_assets.serving.auth import read_api_token
from ml_assets_tests.conftest import REPOSITORY, inherited_environment

_READ = """
import os
from ml_assets.config.settings import read_settings
settings = read_settings()
os.chdir("elsewhere")
assert read_settings() == settings
print(settings.taxi, settings.first_month, settings.synthetic, os.environ.get("AWS_ACCESS_KEY_ID"))
"""


def run(folder, *command, **variables):
    environment = {**inherited_environment(), "PYTHONPATH": str(REPOSITORY), **variables}
    environment.pop("PYTHON_DOTENV_DISABLED", None)
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".env").write_text("ML_ASSETS_TAXI=fhv\n")
    return tmp_path


def test_variables_that_are_not_set_are_taken_from_the_env_file_of_the_working_directory(folder):
    (folder / ".env").write_text(
        "# a comment\nexport ML_ASSETS_TAXI=yellow\nML_ASSETS_FIRST_MONTH='2022-05'\n"
        "AWS_ACCESS_KEY_ID=key\n"
    )
    done = run(folder, "-c", _READ, ML_ASSETS_FIRST_MONTH="2023-03")
    assert done.stdout.split() == ["yellow", "2023-03", "True", "key"], done.stderr


def test_a_wrong_value_in_the_env_file_is_one_line_like_any_other(folder):
    (folder / ".env").write_text("ML_ASSETS_TAXI=fhv\nML_ASSETS_TAXII=green\n")
    command = "from ml_assets.cli import main; import sys; sys.argv[1:] = ['months']; main()"
    done = run(folder, "-c", command)
    assert done.returncode == 2
    warned, message = done.stderr.splitlines()
    assert "ML_ASSETS_TAXII: did you mean ML_ASSETS_TAXI?" in warned
    assert message == "error: ML_ASSETS_TAXI='fhv' is not allowed: use green or yellow"


@pytest.mark.parametrize("content", [b"ML_ASSETS_TAXI=gr\xfcn", None])
def test_an_env_file_that_cannot_be_read_is_one_line_and_a_folder_of_that_name_none(
    folder, content
):
    if content is None:
        (folder / ".env").mkdir()
        assert run(folder, "-c", _READ).stdout.split()[0] == "green"
    else:
        (folder / ".env").write_bytes(content)
        command = "from ml_assets.cli import main; import sys; sys.argv[1:] = ['months']; main()"
        (line,) = run(folder, "-c", command).stderr.splitlines()
        assert line.startswith("error: .env=")
        assert "it is not text in UTF-8" in line


def test_variables_that_are_given_are_all_that_is_read_and_a_wrong_secret_is_not_shown(monkeypatch):
    monkeypatch.setenv("ML_ASSETS_TAXI", "yellow")
    monkeypatch.setenv("ML_ASSETS_API_TOKEN", "of another one")
    assert read_settings({}).taxi == "green"
    assert read_api_token({}) is None
    assert read_api_token({"ML_ASSETS_API_TOKEN": " t0ken "}) == "t0ken"
    wrong = {"ML_ASSETS_API_TOKEN": "hunter two"}
    with pytest.raises(SettingsError, match="without spaces") as error:
        read_api_token(wrong)
    assert "hunter" not in "".join(traceback.format_exception(error.value))


def test_a_renamed_variable_is_read_by_its_former_name_with_a_notice(folder):
    (folder / ".env").write_text("ML_ASSETS_SCORE_CRON=off\nML_ASSETS_MONITOR_CRON=\n")
    read = (
        "from ml_assets.config.settings import read_settings; print(read_settings().monitor_cron)"
    )
    assert run(folder, "-c", read).stdout == "None\n"
    command = (
        "from ml_assets.cli import main; import sys; sys.argv[1:] = ['months', '--json']; main()"
    )
    noticed = run(folder, "-c", command, ML_ASSETS_HOME=str(folder / "home")).stderr.splitlines()
    assert noticed[0] == (
        "warning: ML_ASSETS_SCORE_CRON is now ML_ASSETS_MONITOR_CRON; the old name still works"
    )


def test_of_a_variable_s_two_names_the_present_one_counts():
    both = {"ML_ASSETS_ALERT_FOLD_HOURS": "1", "ML_ASSETS_ALERT_DEDUP_HOURS": "2"}
    assert read_alert_settings(both).dedup_window == timedelta(hours=2)
    with pytest.raises(SettingsError, match="ML_ASSETS_ALERT_FOLD_HOURS='-1' is not allowed"):
        read_alert_settings({"ML_ASSETS_ALERT_FOLD_HOURS": "-1"})

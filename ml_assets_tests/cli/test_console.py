"""Output of the command while Dagster redirects the standard streams."""

import subprocess
import sys

from ml_assets_tests.conftest import REPOSITORY


def run_python(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)


def test_progress_is_shown_although_standard_error_is_redirected_during_a_step():
    done = run_python(
        "import os\n"
        "from ml_assets.cli.console import unredirected_console\n"
        "with unredirected_console() as console:\n"
        "    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n"
        "    console.print('✓ training_set')\n"
    )
    assert done.stderr == "✓ training_set\n"


def test_nothing_reaches_standard_output_while_it_is_redirected():
    done = run_python(
        "import os\n"
        "from ml_assets.cli.console import stdout_redirected\n"
        "with stdout_redirected():\n"
        "    print('from Python')\n"
        "    os.write(1, b'from C')\n"
        "print('{}')\n"
    )
    assert done.stdout == "{}\n"
    assert "from Python" in done.stderr
    assert "from C" in done.stderr

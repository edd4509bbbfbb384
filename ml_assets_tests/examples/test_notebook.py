"""The example notebook runs from its first cell to its last, and imports no Dagster."""

import json
import subprocess
import sys

import pytest

from ml_assets_tests.conftest import REPOSITORY, inherited_environment

NOTEBOOKS = sorted((REPOSITORY / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_without_dagster(notebook, tmp_path):
    cells = json.loads(notebook.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code
    last = "import sys\nassert 'dagster' not in sys.modules and 'mlflow' not in sys.modules\n"
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join([*code, last]))
    made = subprocess.run(
        [sys.executable, script],
        cwd=REPOSITORY,
        env={**inherited_environment(), "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    lines = made.stdout.splitlines()
    assert sum("minutes RMSE on the test month" in line for line in lines) >= 3
    assert lines[-1].split()[:2] == ["74", "138"]
    assert 1 <= float(lines[-1].split()[-1]) <= 60

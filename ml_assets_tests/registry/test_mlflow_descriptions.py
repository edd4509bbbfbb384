"""Links into MLflow's own pages, without what opens them."""

from ml_assets.registry.mlflow_descriptions import pages, ui_command

ARGUMENTS = ("taxi-trip-duration", "3", "1", "abc")


def test_a_server_s_pages_are_linked():
    assert pages("https://me:s3cret@mlflow.example.org/", *ARGUMENTS) == {
        "registered_version": "https://mlflow.example.org/#/models/taxi-trip-duration/versions/3",
        "mlflow_run": "https://mlflow.example.org/#/experiments/1/runs/abc",
    }


def test_a_version_without_run_has_one_link():
    found = pages("http://127.0.0.1:5000", "taxi-trip-duration", "3", "1", "")
    assert list(found) == ["registered_version"]


def test_a_database_is_opened_by_a_command_without_password():
    assert pages("sqlite:////home/mlflow.db", *ARGUMENTS) == {}
    assert ui_command("sqlite:////home/mlflow.db") == (
        "mlflow ui --backend-store-uri sqlite:////home/mlflow.db"
    )
    assert "s3cret" not in ui_command("postgresql://me:s3cret@server/mlflow")

"""Where to look: pages of a tracking server, or the command that shows a database."""

import shlex

from ml_assets.secrets import without_credentials


def pages(uri: str, name: str, version: str, experiment_id: str, run_id: str) -> dict[str, str]:
    """Links to a registered version and to the run that made it, by what they show.

    Args:
        uri: MLflow tracking URI.
        name: Registered model.
        version: Its version.
        experiment_id: Id of the run's experiment.
        run_id: Id of the run; empty when the version does not tell.

    Returns:
        Nothing when the URI is no server whose pages can be opened.
    """
    if not uri.startswith(("http://", "https://")):
        return {}
    base = f"{without_credentials(uri).replace('://***@', '://').rstrip('/')}/#"
    found = {"registered_version": f"{base}/models/{name}/versions/{version}"}
    if run_id:
        found["mlflow_run"] = f"{base}/experiments/{experiment_id}/runs/{run_id}"
    return found


def how_to_open(uri: str) -> str:
    """The command that opens a database-backed store in MLflow's own UI."""
    return f"mlflow ui --backend-store-uri {shlex.quote(without_credentials(uri))}"

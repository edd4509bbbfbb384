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
    base = _base(uri)
    if base is None:
        return {}
    found = {"registered_version": f"{base}/models/{name}/versions/{version}"}
    return found | run_page(uri, experiment_id, run_id)


def run_page(uri: str, experiment_id: str, run_id: str) -> dict[str, str]:
    """The link to a run.

    Args:
        uri: MLflow tracking URI.
        experiment_id: Id of its experiment.
        run_id: Its id; empty when it is not known.

    Returns:
        Nothing when there is no run, or the URI is no server whose pages can be opened.
    """
    base = _base(uri)
    if base is None or not run_id:
        return {}
    return {"mlflow_run": f"{base}/experiments/{experiment_id}/runs/{run_id}"}


def _base(uri: str) -> str | None:
    """Where a server's pages begin; None when it is no server."""
    if not uri.startswith(("http://", "https://")):
        return None
    return f"{without_credentials(uri).replace('://***@', '://').rstrip('/')}/#"


def how_to_open(uri: str) -> str:
    """The command that opens a database-backed store in MLflow's own UI."""
    return f"mlflow ui --backend-store-uri {shlex.quote(without_credentials(uri))}"

"""What the registry tells of the version that serves, for those who watch it."""

from typing import TYPE_CHECKING

from ml_assets.monitoring.champion import ServedChampion
from ml_assets.registry.artifacts import CHAMPION, version_with_alias

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sklearn.pipeline import Pipeline


def served_champion(client: "MlflowClient", name: str) -> ServedChampion | None:
    """The champion's facts, from the tags of its version; None when nothing serves.

    Args:
        client: Of the registry.
        name: Registered model.
    """
    version = version_with_alias(client, name, CHAMPION)
    if version is None:
        return None
    tags = version.tags
    return ServedChampion(
        version=str(version.version),
        model=tags.get("model", "unknown"),
        dataset=tags.get("dataset", ""),
        fitted_on=_months(tags.get("fitted_on", "")),
        tuned_on=_months(tags.get("tuned_on", "")),
        judged_month=tags.get("judged_month", ""),
        test_rmse=_number(tags.get("test_rmse", "")),
        run_id=version.run_id or "",
    )


def load_served(client: "MlflowClient", name: str, champion: ServedChampion) -> "Pipeline":
    """The pipeline of a version, held to what it answered when it was registered.

    Raises:
        AnswersOtherwise: when today's code makes another model of it.
        UntrustedModel: when it asks for types that are not trusted.
    """
    from ml_assets.registry.loading import load_as_registered

    tags = client.get_model_version(name, champion.version).tags
    pipeline: Pipeline = load_as_registered(f"models:/{name}/{champion.version}", dict(tags))
    return pipeline


def _months(text: str) -> tuple[str, ...]:
    return tuple(sorted(month for month in text.split(",") if month))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

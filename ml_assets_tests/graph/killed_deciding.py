"""A process that is killed (SIGKILL) at a named point of the promotion."""

from pathlib import Path

import mlflow

from ml_assets.promotion import evaluate
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.registry.registry import Registry
from ml_assets_tests.graph.killing import die, then_die
from ml_assets_tests.project import open_project, settings_for


def before_alias(alias):
    """Die when this alias is set in the registry."""
    given = mlflow.MlflowClient.set_registered_model_alias

    def give(client, name, given_alias, version):
        if given_alias == alias:
            die()
        return given(client, name, given_alias, version)

    mlflow.MlflowClient.set_registered_model_alias = give  # type: ignore[method-assign]


MOMENTS = {
    "registering": lambda: setattr(Registry, "register", die),
    "registered": lambda: setattr(Registry, "register", then_die(Registry.register)),
    "examined": lambda: setattr(evaluate, "decide", die),
    "recording": lambda: setattr(DecisionLog, "write", die),
    "recorded": lambda: setattr(DecisionLog, "write", then_die(DecisionLog.write)),
    "noting the champion before": lambda: before_alias("previous"),
    "moving the alias": lambda: before_alias("champion"),
    "moved": lambda: setattr(Registry, "promote", then_die(Registry.promote)),
}


def work(moment: str, home: Path, trips: Path) -> None:
    MOMENTS[moment]()
    with open_project(settings_for(home, trips)) as project:
        project.run("train_models", selection=["champion_model"])

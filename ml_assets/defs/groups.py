"""Asset groups and owners: the names under which the UI arranges the graph."""

INGESTION = "ingestion"
REFERENCE = "reference"
TRAINING = "training"
MODELS = "models"
EVALUATION = "evaluation"
PREDICTIONS = "predictions"
MONITORING = "monitoring"

GROUPS = (INGESTION, REFERENCE, TRAINING, MODELS, EVALUATION, PREDICTIONS, MONITORING)

UNFOLDED_LINEAGE = "/asset-groups?expanded=" + ",".join(f"global@global:{name}" for name in GROUPS)
"""Page of Dagster's UI with every group of the graph unfolded; without this it opens folded."""

TRAINING_POOL = "training"
"""Runs with a step of it go one at a time, however many runs the instance allows."""
INGESTION_POOL = "ingestion"
"""The same for runs that bring months."""

OWNERS = ["team:ml_assets"]

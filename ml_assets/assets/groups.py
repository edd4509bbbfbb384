"""Asset groups and owners: the names under which the UI arranges the graph."""

INGESTION = "ingestion"
REFERENCE = "reference"
TRAINING = "training"
MODELS = "models"
EVALUATION = "evaluation"
MONITORING = "monitoring"

OWNERS = ["team:ml_assets"]

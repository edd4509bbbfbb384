"""MLflow: its store, runs, registered versions, aliases and artifacts."""

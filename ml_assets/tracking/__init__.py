"""MLflow: its store, its runs, its registry."""

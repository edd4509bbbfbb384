"""Operation of runs: outcomes, orphaned and queued runs, tags, MLflow cleanup, error scrubbing."""

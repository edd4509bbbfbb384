"""The models, free of any orchestrator: features, families, tuning, judging, promotion."""

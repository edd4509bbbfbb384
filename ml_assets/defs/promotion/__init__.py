"""Promotion in Dagster: the champion, its checks, rollback and promotion jobs."""

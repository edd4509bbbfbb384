"""Dagster definitions of the backtest."""

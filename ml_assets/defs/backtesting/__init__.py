"""The backtest in Dagster."""

"""The rolling-origin backtest: every family trained and tested on every month in turn."""

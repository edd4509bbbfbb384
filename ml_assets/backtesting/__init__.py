"""Rolling-origin backtest: every family is trained and tested on successive months."""

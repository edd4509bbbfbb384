"""Which model serves: champion and challenger, decisions, manual promotion, serving parity."""

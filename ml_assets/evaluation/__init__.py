"""How well a model predicts: metrics, slices, model checks, intervals, the leaderboard."""

"""Alert sensors: runs, decisions, degradation and overdue assets."""

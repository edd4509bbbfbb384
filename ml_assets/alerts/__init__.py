"""Alerts: what is told, to whom, and folded; e-mail and webhook."""

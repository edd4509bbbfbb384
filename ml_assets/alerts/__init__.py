"""Alerts: messages, deduplication, and delivery by e-mail and webhook."""

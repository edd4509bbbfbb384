"""The prediction service: HTTP API, web page and request log."""

"""The prediction service: the champion's answers over HTTP, and a page to ask from."""

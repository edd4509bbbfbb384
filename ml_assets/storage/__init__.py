"""Where months, records and files are kept: atomic, under contract, on a folder or a URL."""

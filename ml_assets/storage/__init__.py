"""Storage of months, records and files: atomic, with schema validation, in a folder or at a URL."""

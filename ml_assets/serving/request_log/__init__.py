"""The log of answered requests: written, kept in files, read."""

"""Everything that a stored model consists of: features, encoders, bounds, intervals, explanations.

Stored models name the modules, classes and attributes of this package. From version 0.2.0 on they
are an interface: a change that a stored model cannot be loaded with is a new major version.
"""

"""The parts of a stored model: features, encoders, bounds, intervals, explanations.

Stored models name the modules, classes and attributes of this package. From version 0.2.0 on they
are an interface: a change that prevents loading a stored model is a new major version.
"""

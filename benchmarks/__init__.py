"""What the project claims about itself, measured: ``python -m benchmarks [NAME ...]``.

Every figure is a ratio to a named peer, taken in the same run on the same machine.
"""

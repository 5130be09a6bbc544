"""A thorough look at the host for `atoll doctor`. Changes nothing; runs aside from the engine's thread.

Law: reads and parses, judges nothing. A look that fails gives less, never an error of the whole.
"""

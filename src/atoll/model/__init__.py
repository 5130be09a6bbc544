"""The words of the project as frozen values: what exists, what the kernel should hold, what to change.

Law: no I/O, no clock, no randomness, stdlib only.
"""

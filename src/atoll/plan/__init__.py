"""From stored objects to kernel state, and from a difference to operations.

Law: pure. Nothing here opens a socket or a file, and nothing here imports `kernel`.
"""

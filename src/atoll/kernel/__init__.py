"""The only room with syscalls about networking.

Law: it does what it is told, by ops, and says what it sees, by items; it decides nothing.
"""

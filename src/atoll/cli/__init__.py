"""What people type: a thin client of the daemon's socket.

Law: the standard library and `atoll.errors` only, imported when a command needs it, as start-up is what a command
costs; but for bars on a terminal, which rich draws (`progress.py`). Nothing of the daemon is imported, except by
`daemon` and `demo`, which hand over to it.
"""

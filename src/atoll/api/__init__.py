"""HTTP over a unix socket: Docker's routes, and atoll's own.

Law: translation only. Texts become values of `model/` here, values become JSON, errors become status
codes; nothing is decided.
"""

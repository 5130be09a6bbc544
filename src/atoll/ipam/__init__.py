"""Choosing addresses, subnets and host ports over a snapshot of what is taken.

Law: pure. Facts about the host are arguments; holding what is chosen is the store's and the kernel's work.
"""

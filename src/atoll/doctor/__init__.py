"""What is wrong with a host for our networks: one file a subject, each a pure check over one snapshot.

Law: no I/O. A check is a function from a Snapshot to Findings; `diagnose` calls them all.
"""

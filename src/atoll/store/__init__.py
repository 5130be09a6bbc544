"""Records with a revision, kept over restarts.

Law: knows records, not what they mean. A commit is all or nothing and is on its way to the disk when it returns.
"""

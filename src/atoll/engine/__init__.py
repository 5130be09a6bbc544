"""The verbs of the product, and the one path that each of them goes.

Law: the only room that joins the others; everything that changes the kernel or the store runs in one thread.
"""

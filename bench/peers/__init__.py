"""What people use today, for the same job: a namespace with a cable, addresses and routes of both families, and ports.

Each is unpacked from Debian's packages by `make bench-deps`, and runs on a host made for it.
"""

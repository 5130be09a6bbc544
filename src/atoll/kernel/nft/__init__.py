"""The tables `inet atoll` and `bridge atoll`: constant rules, and elements as the only thing that changes.

    inet.nft     the rules of the one, as people read them
    bridge.nft   those of the other
    rules.py     their parts, and the script that builds them
    library.py   libnftables, which compiles that script
    netlink.py   nfnetlink transactions and dumps, on the library's own socket
    codec.py     elements as bytes, both ways
    elements.py  elements in the kernel: looked up, listed, changed
    table.py     a table itself: owned, marked, compared
    firewall.py  what the kernel room uses

Law: nothing outside these two tables is ever changed.
"""

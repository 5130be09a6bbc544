"""The table `inet atoll`: constant rules, and elements as the only thing that changes.

    rules.nft    the rules, as people read them
    rules.py     their parts, and the script that builds them
    library.py   libnftables, which compiles that script
    netlink.py   nfnetlink transactions and dumps, on the library's own socket
    codec.py     elements as bytes, both ways
    elements.py  elements in the kernel: looked up, listed, changed
    table.py     the table itself: owned, marked, compared
    firewall.py  what the kernel room uses

Law: nothing outside the table `inet atoll` is ever changed.
"""

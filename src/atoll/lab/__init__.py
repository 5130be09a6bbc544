"""Hosts made of network namespaces, for the demo, for tests over several hosts, and for people who want to try things.

    with Lab() as lab:                                   switch "lan" (a namespace with one bridge)
        lan = lab.switch("lan", "10.99.0.0/24")               |              |
        one, two = lab.host("one", lan), lab.host("two", lan) one (eth0)     two (eth0)
        one.start_daemon()                               each host: a namespace, temporary directories, perhaps a daemon

Law: everything lives inside namespaces that the lab made, and is gone when the lab closes. The machine's own
interfaces, routes, firewall and settings are never touched.
"""

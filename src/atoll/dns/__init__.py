"""The name service: what containers ask at 127.0.0.11, answered from their networks or by the host's resolvers.

A process of its own that outlives the daemon:

    daemon --NameClient--> control --> Zones, by which Answerer knows the names that an asker may know
    container --> UdpServer, TcpServer (sockets of its namespace) --> Answerer --> Forwarder (the host's namespace)

Law: one thread, one epoll loop, stdlib only; every buffer, table and wait has a limit in `Limits`. `message`, `zones`
and `answerer` are pure; who is on which network, and under which names, is said over the control socket.
"""

"""The relay: bytes between a host port and an endpoint, where the kernel can't carry them.

The only proxy in atoll, for two paths: an IPv6 host port of an endpoint that has only IPv4, and `[::1]` on hosts
whose bridged frames traverse the inet hooks. It is a process of its own that outlives the daemon:

    daemon --RelayClient--> SOCK_SEQPACKET, JSON + SCM_RIGHTS --> control --> TcpListener, UdpListener --> endpoint

Law: one thread, one epoll loop, stdlib only; every buffer, table and wait has a limit in `Limits`. It chooses nothing:
which ports, which sockets and which targets is said over the control socket.

What a client notices: the endpoint sees the host as the peer; a TCP connection is accepted before the endpoint is
reached, so an endpoint that refuses shows as a reset; ICMP errors of UDP are not passed on.
"""

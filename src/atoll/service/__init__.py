"""Processes that outlive the daemon: how they are started, found again, and told what to do.

    daemon --ServiceClient--> SOCK_SEQPACKET, JSON + SCM_RIGHTS --> ControlSocket --> what the service does

A service is found by the path of its control socket alone, so the next daemon finds what the last one left.
Law: one thread, one epoll loop, stdlib only; a service chooses nothing, and all that it has was given to it.
"""

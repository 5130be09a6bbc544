"""One host: bridge, NAT, published ports, shared and empty namespaces, isolation, and a crash."""

"""Small programs that run inside a lab's namespaces, each a file of its own, started by path with the stdlib only."""

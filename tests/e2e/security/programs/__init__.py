"""Small programs that run inside a stage's namespaces, each started by path."""

"""From an image, a container and the host to an OCI runtime specification. Law: pure."""

"""The textbook session with containers, typed with Docker's own command."""

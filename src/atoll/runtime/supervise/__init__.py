"""Programs, mounts and files of one running container: conmon, runc, overlayfs, logs, streams."""

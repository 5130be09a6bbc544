"""The host's own resolvers, as its resolv.conf has them now."""

import ipaddress
from pathlib import Path

from atoll.model.addresses import IPAddress

_DEFAULT: tuple[IPAddress, ...] = (ipaddress.ip_address("127.0.0.1"),)
"""Where libc asks when no server is named; resolv.conf(5)."""
_FILE_BYTES_MAX = 65536


class HostResolvers:
    """Reads a resolv.conf again whenever it was changed or replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._servers = _DEFAULT

    def __call__(self) -> tuple[IPAddress, ...]:
        """The servers in the file's order; this host's own one when the file is missing or names none."""
        try:
            status = self._path.stat()
        except OSError:
            self._seen = None
            return _DEFAULT
        seen = status.st_mtime_ns, status.st_ino, status.st_size
        if seen != self._seen:
            self._servers = self._read()
            self._seen = seen
        return self._servers

    def _read(self) -> tuple[IPAddress, ...]:
        try:
            with self._path.open("rb") as file:
                text = file.read(_FILE_BYTES_MAX).decode("latin-1")
        except OSError:
            return _DEFAULT
        return servers_in(text) or _DEFAULT


def servers_in(text: str) -> tuple[IPAddress, ...]:
    """The `nameserver` lines of a resolv.conf; what is no address is passed over, as libc does."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                found.append(ipaddress.ip_address(words[1]))
            except ValueError:
                continue
    return tuple(found)

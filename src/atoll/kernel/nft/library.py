"""libnftables in this process: rule text goes in, one transaction a call.

Used only for what is rare, building the rules; elements go as netlink messages (`netlink.py`).
"""

import contextlib
import ctypes
import errno
import os
import re
import socket
import stat
from ctypes import c_char_p, c_int, c_uint32, c_void_p
from pathlib import Path

from atoll.errors import KernelError, Unavailable, Unsupported

_SONAME = "libnftables.so.1"
_NETLINK_NETFILTER = 12  # linux/netlink.h
_FD_SETSIZE = 1024  # it waits with select(), which ends the process at a higher descriptor
_ERRNO_TEXTS = {os.strerror(number): number for number in errno.errorcode}


class Library:
    """One libnftables context and its netlink socket. Used by one thread, in one network namespace.

    Make it before thousands of files are open: its socket's descriptor must be below 1,024. Raises Unsupported
    when the library is not installed, Unavailable when descriptors that low are used up.
    """

    def __init__(self) -> None:
        try:
            self._lib = _prototyped(ctypes.CDLL(_SONAME, use_errno=True))
        except OSError as error:
            raise Unsupported(f"cannot load {_SONAME}: {error}", hint="apt-get install libnftables1") from None
        before = _netfilter_sockets()
        self._context = self._lib.nft_ctx_new(0)
        if not self._context:
            raise KernelError("cannot make an nftables context", errno=ctypes.get_errno())
        self.fd = _only(_netfilter_sockets() - before)
        if self.fd >= _FD_SETSIZE:
            self.close()
            raise Unavailable(f"{_SONAME} got file descriptor {self.fd}: it can't use one above {_FD_SETSIZE - 1}")
        # libmnl opens it without CLOEXEC; a program started by us would keep the table owned after our death.
        os.set_inheritable(self.fd, False)
        self._lib.nft_ctx_buffer_output(self._context)
        self._lib.nft_ctx_buffer_error(self._context)

    def run(self, script: str) -> str:
        """Run nft commands as one transaction and return what they print.

        Raises KernelError, with nft's own message and the numbered script in its detail; then nothing has changed.
        """
        failed = self._lib.nft_run_cmd_from_buffer(self._context, script.encode())
        output = _text(self._lib.nft_ctx_get_output_buffer(self._context))
        complaint = _text(self._lib.nft_ctx_get_error_buffer(self._context))
        if failed:
            lines = script.splitlines()
            numbered = "\n".join(f"{number:4} {line}" for number, line in enumerate(lines, 1))
            first = complaint.strip().partition("\n")[0]
            raise KernelError(
                f"nft refused the rules: {first}",
                errno=_errno_of(first),
                hint="nft list ruleset",
                detail=f"{complaint}\n{numbered}",
            )
        return output

    def close(self) -> None:
        """Free the context; its socket is closed, and a table that it owns becomes an orphan."""
        if self._context:
            self._lib.nft_ctx_free(self._context)
            self._context = None


def _prototyped(lib: ctypes.CDLL) -> ctypes.CDLL:
    """Declare what is called. Source: nftables/libnftables.h."""
    for name, result, arguments in (
        ("nft_ctx_new", c_void_p, (c_uint32,)),
        ("nft_ctx_free", None, (c_void_p,)),
        ("nft_ctx_buffer_output", c_int, (c_void_p,)),
        ("nft_ctx_buffer_error", c_int, (c_void_p,)),
        ("nft_ctx_get_output_buffer", c_char_p, (c_void_p,)),
        ("nft_ctx_get_error_buffer", c_char_p, (c_void_p,)),
        ("nft_run_cmd_from_buffer", c_int, (c_void_p, c_char_p)),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, list(arguments)
    return lib


def _text(buffer: bytes | None) -> str:
    return (buffer or b"").decode(errors="replace")


def _errno_of(complaint: str) -> int:
    """The number behind the strerror text that ends nft's message, EINVAL when it has none."""
    match = re.search(r"(?:Error|error): .*?([A-Z][^:;]*)$", complaint)
    return _ERRNO_TEXTS.get(match.group(1).strip(), errno.EINVAL) if match else errno.EINVAL


def _netfilter_sockets() -> set[int]:
    """Our open sockets of NETLINK_NETFILTER.

    libnftables has no call that tells its socket, and only that socket may change a table it owns; so
    the one that appears while the context is made is it. It stays the same for the context's life
    (nft_mnl_socket_open is called once, in nft_ctx_new, since nftables 0.9.9).
    """
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        fd = int(entry.name)
        with contextlib.suppress(OSError):  # the descriptor that lists the directory is closed since
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket.socket(fileno=os.dup(fd)) as probe:
                    if probe.family == socket.AF_NETLINK and probe.proto == _NETLINK_NETFILTER:
                        found.add(fd)
    return found


def _only(fds: set[int]) -> int:
    if len(fds) != 1:
        raise Unsupported(f"cannot tell the socket of {_SONAME}: {len(fds)} candidates {sorted(fds)}")
    return fds.pop()

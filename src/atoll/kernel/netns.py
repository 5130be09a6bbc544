"""Network namespaces: made, entered, told apart, deleted.

Law: only a throw-away thread ever changes its namespace, and nothing of a namespace stays open
after a call: somebody else's must be able to die.

Source: man 2 setns, unshare, mount; man 7 network_namespaces; the mount directory as iproute2's `ip netns`.
"""

import errno
import fcntl
import os
import socket
import struct
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ctypes import CDLL, get_errno
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from atoll.errors import InvalidRequest, KernelError, Unsupported
from atoll.kernel import sysctl
from atoll.model.fresh import interface_sysctls
from atoll.model.names import shown
from atoll.model.sandbox import NetnsEvidence

_Result = TypeVar("_Result")

_LIBC = CDLL(None, use_errno=True)

_CLONE_NEWNET = 0x40000000
"""linux/sched.h"""
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000
_MNT_DETACH = 2
"""sys/mount.h"""
_NS_GET_NSTYPE = 0xB703
"""linux/nsfs.h: _IO(0xb7, 3)"""
_SO_NETNS_COOKIE = 71
"""asm-generic/socket.h, since Linux 5.14"""
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_IFREQ_FLAGS = struct.Struct("=16sH22x")
"""struct ifreq with its flags, linux/if.h"""

STACKED_MOUNTS_MAX = 8
"""How many mounts over one another `delete` takes away."""

_DEFAULTS = "net/ipv6/conf/default"
_FRESH: Mapping[str, str] = MappingProxyType(
    {
        "net/ipv4/ping_group_range": "0 2147483647",
        "net/ipv4/ip_unprivileged_port_start": "0",
        "net/ipv6/conf/all/accept_ra": "0",
        "net/bridge/bridge-nf-call-iptables": "0",
        "net/bridge/bridge-nf-call-ip6tables": "0",
        "net/bridge/bridge-nf-call-arptables": "0",
    }
)
"""Sysctls of a namespace of ours, as Docker sets them for containers. What the kernel lacks is left out."""


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor of the network namespace at `path`, closed at the end.

    Raises InvalidRequest naming the path when there is none, or something else.
    """
    try:
        # O_NONBLOCK: a path may name a pipe that nobody writes to.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = (error.strerror or "").lower() if isinstance(error, OSError) else "not a path"
        raise InvalidRequest(
            f"no network namespace at {shown(path)}: {reason}", hint="ip netns list; lsns -t net", subject=path
        ) from error
    try:
        if not _is_netns(descriptor):
            raise InvalidRequest(
                f"{shown(path)} is not a network namespace", hint="ip netns list; lsns -t net", subject=path
            )
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_as(known: NetnsEvidence) -> Iterator[int]:
    """As `opened`, of that very namespace. Raises InvalidRequest when it is gone, or another is in its place."""
    with opened(known.path) as descriptor:
        if known.cookie and run_at(descriptor, own_cookie) != known.cookie:
            raise InvalidRequest(f"another network namespace is at {known.path!r} now", subject=known.path)
        yield descriptor


def _is_netns(descriptor: int) -> bool:
    try:
        return fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False


def run_in(path: str, function: Callable[[], _Result]) -> _Result:
    """Call `function` by a thread inside the namespace at `path`.

    Sockets that it opens belong there for good, so one may be handed back. Raises as `opened`, and
    what `function` raises.
    """
    with opened(path) as descriptor:
        return run_at(descriptor, function)


def run_at(descriptor: int, function: Callable[[], _Result]) -> _Result:
    """As `run_in`, of an open namespace."""

    def entered() -> _Result:
        _check(_LIBC.setns(descriptor, _CLONE_NEWNET), "cannot enter a network namespace")
        return function()

    return _in_a_thread(entered)


def run_apart(function: Callable[[], _Result]) -> _Result:
    """Call `function` by a thread in a new namespace, which goes with what `function` leaves open in it.

    Loopback is down. Raises KernelError, and what `function` raises.
    """

    def entered() -> _Result:
        _check(_LIBC.unshare(_CLONE_NEWNET), "cannot make a network namespace")
        return function()

    return _in_a_thread(entered)


def visit(known: NetnsEvidence, function: Callable[[], _Result]) -> _Result:
    """As `run_in`, of that very namespace. Raises InvalidRequest as `opened_as`."""

    def checked() -> _Result:
        if known.cookie and own_cookie() != known.cookie:
            raise InvalidRequest(f"another network namespace is at {known.path!r} now", subject=known.path)
        return function()

    return run_in(known.path, checked)


def exists(path: str) -> bool:
    """True when a network namespace is mounted at, or named by, `path`."""
    try:
        with opened(path):
            return True
    except InvalidRequest:
        return False


def make(path: str, view: sysctl.View | None = None, ready: int | None = None, *, ipv6: bool = False) -> bool:
    """Make a namespace mounted at `path`, loopback up, with the sysctls of a container; False when one was there.

    It stays then. The mount comes last: a namespace that can be seen is complete. Sysctls are set through `view` when
    given. `ready` is a descriptor of such a namespace, which then is mounted there. Interfaces begin with `ipv6` or
    without. Raises KernelError.
    """
    if exists(path):
        return False
    directory = os.path.dirname(path)  # noqa: PTH120  a third of Path's time, and on the way of every attach
    try:
        _make_file(path, directory)
    except OSError as error:
        raise _error(f"cannot make the namespace {path}", error.errno or 0) from error
    _share_mounts_below(directory)

    def make_here() -> None:
        _check(_LIBC.unshare(_CLONE_NEWNET), f"cannot make the namespace {path}")
        furnish(view, ipv6=ipv6)
        _mount(b"/proc/thread-self/ns/net", path)

    try:
        if ready is None:
            _in_a_thread(make_here)
        else:
            _mount(b"/proc/self/fd/%d" % ready, path)
    except BaseException:
        with suppress(OSError):
            Path(path).unlink()
        raise
    return True


def _make_file(path: str, directory: str) -> None:
    flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o444)
    except FileNotFoundError:
        Path(directory).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o444)
    os.close(descriptor)


def furnish(view: sysctl.View | None = None, *, ipv6: bool = False) -> None:
    """Give the calling thread's new namespace loopback and the sysctls of a container. Raises KernelError."""
    _loopback_up()
    defaults = {f"{_DEFAULTS}/{name}": value for name, value in interface_sysctls(ipv6=ipv6).items()}
    for name, value in {**_FRESH, **defaults}.items():
        with suppress(FileNotFoundError):
            sysctl.write(name, value, view)


def open_ipv6_switch() -> int | None:
    """A descriptor that says, by "0" or "1" written to it, whether interfaces of this namespace begin without IPv6.

    It stays of the calling thread's namespace, whoever writes. None where the kernel has no IPv6.
    """
    try:
        return os.open(f"{sysctl.ROOT}{_DEFAULTS}/disable_ipv6", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _mount(source: bytes, path: str) -> None:
    _check(_LIBC.mount(source, os.fsencode(path), b"none", _MS_BIND, None), f"cannot mount a namespace at {path}")


def delete(path: str) -> None:
    """Unmount and remove what `make` made; what is gone is no error. Its links go with it, a little later.

    Raises KernelError.
    """
    for _ in range(STACKED_MOUNTS_MAX):
        if _LIBC.umount2(os.fsencode(path), _MNT_DETACH):
            break
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise _error(f"cannot remove the namespace {path}", error.errno or 0) from error


def evidence(path: str, pid: int | None) -> NetnsEvidence:
    """What tells the namespace at `path`, or of process `pid`, from any other. One of the two is given.

    Raises InvalidRequest when there is none, Unsupported before Linux 5.14.
    """
    ticks = None
    if pid is not None:
        ticks = _start_ticks(pid)
        if ticks is None:
            raise InvalidRequest(f"no process {pid}", hint="give the pid of a running process", subject=str(pid))
        path = f"/proc/{pid}/ns/net"
    elif not os.path.isabs(path):  # noqa: PTH117
        raise InvalidRequest(f"invalid namespace path {shown(path)}: it does not begin with /", subject=path)
    return NetnsEvidence(path, boot_id(), run_in(path, own_cookie), pid, ticks)


def alive(known: NetnsEvidence) -> bool:
    """True while that very namespace can be reached as before."""
    if known.boot_id and known.boot_id != boot_id():
        return False
    if known.pid is not None and _start_ticks(known.pid) != known.pid_start_ticks:
        return False
    try:
        return not known.cookie or run_in(known.path, own_cookie) == known.cookie
    except InvalidRequest:
        return False


def ifnames(known: NetnsEvidence) -> frozenset[str]:
    """Names of the interfaces inside, loopback too. Raises InvalidRequest when it is gone."""
    return run_in(known.path, lambda: frozenset(name for _, name in socket.if_nameindex()))


def own_cookie() -> int:
    """SO_NETNS_COOKIE of the calling thread's namespace. Raises Unsupported before Linux 5.14."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            return int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise _error("cannot identify a network namespace", error.errno or 0) from error
        raise Unsupported("network namespaces have no cookie on this kernel: Linux 5.14 is needed") from error


def boot_id() -> str:
    """The kernel's random id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, man 5 proc; None without such a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, _IFREQ_FLAGS.pack(b"lo", _IFF_UP))


def _share_mounts_below(directory: str) -> None:
    """Make the directory a shared mount: an unmount reaches copies of it in other mount namespaces.

    Else a process with a mount namespace of its own would keep every namespace that was there when it started.
    """
    where = os.fsencode(directory)
    if _LIBC.mount(b"", where, b"none", _MS_SHARED, None) == 0:
        return
    if get_errno() == errno.EINVAL:  # not a mount yet
        _check(_LIBC.mount(where, where, b"none", _MS_BIND | _MS_REC, None), f"cannot mount {directory} on itself")
    _check(_LIBC.mount(b"", where, b"none", _MS_SHARED, None), f"cannot make {directory} a shared mount")


def _in_a_thread(function: Callable[[], _Result]) -> _Result:
    """The result of `function`, called by a thread that ends with it.

    Bare threads: `threading.Thread` costs as much again as entering a namespace.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []
    done = allocate_lock()
    done.acquire()

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)
        finally:
            done.release()

    start_new_thread(call, ())
    done.acquire()
    if errors:
        raise errors[0]
    return results[0]


def _check(result: int, what: str) -> None:
    if result:
        raise _error(what, get_errno())


def _error(what: str, code: int) -> KernelError:
    return KernelError(f"{what}: {os.strerror(code).lower()}", errno=code, detail=errno.errorcode.get(code, str(code)))

"""An engine of its own on a host made of a namespace, in a child process that can be killed."""

import hashlib
import itertools
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from ctypes import CDLL, get_errno
from dataclasses import dataclass
from pathlib import Path

from atoll.engine.engine import Engine
from atoll.engine.host import Host
from atoll.kernel import netns
from atoll.kernel.conntrack import flush
from atoll.kernel.diagnosis.view import read_view
from atoll.kernel.facts import read_facts
from atoll.kernel.holder import SocketHolder
from atoll.kernel.kernel import Kernel
from atoll.kernel.monitor import nsid_of
from atoll.kernel.nft.firewall import Firewall
from atoll.kernel.real import RealKernel
from atoll.kernel.routes import foreign_defaults
from atoll.model.sandbox import NetnsEvidence
from atoll.plan.driver import Naming
from atoll.store.sqlite import SqliteStore
from atoll.store.store import Store

_LIBC = CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class EngineHost:
    """A host: its namespace, and where its daemon keeps things."""

    netns: str
    state: Path

    @property
    def netns_directory(self) -> Path:
        """Where its sandboxes are mounted."""
        return self.state / "netns"


def ids(seed: str) -> Callable[[], str]:
    """Ids that are the same in every run of the same scenario."""
    numbers = itertools.count()
    return lambda: hashlib.sha256(f"{seed}{next(numbers)}".encode()).hexdigest()


def make_engine(
    host: EngineHost,
    *,
    seed: str = "",
    naming: Naming | None = None,
    wrap_kernel: Callable[[Kernel], Kernel] = lambda kernel: kernel,
    wrap_store: Callable[[Store], Store] = lambda store: store,
) -> Engine:
    """An engine on the namespace that the calling thread is in, with a relay that is never needed."""
    questions = Host(
        facts=read_facts,
        evidence=netns.evidence,
        alive=netns.alive,
        ifnames=_ifnames,
        nsid=_nsid,
        foreign_defaults=foreign_defaults,
        view=read_view,
        new_id=ids(seed),
        now_ns=lambda: 0,
        netns_directory=str(host.netns_directory),
    )
    return Engine(
        store=wrap_store(SqliteStore(host.state / "atoll.db")),
        kernel=wrap_kernel(RealKernel(Firewall(), flush)),
        ports=SocketHolder(),
        host=questions,
        relay=lambda needs, gone=None: dict,
        emit=lambda event: None,
        naming=naming,
    )


def in_child(host: EngineHost, act: Callable[[], None]) -> int:
    """Run `act` by a forked child inside the host's namespace; returns its wait status. A failure is printed."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 1
    try:
        descriptor = os.open(host.netns, os.O_RDONLY)
        if _LIBC.setns(descriptor, _CLONE_NEWNET):
            raise OSError(get_errno(), "setns")
        act()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def was_killed(status: int) -> bool:
    """True when the child ended by SIGKILL."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def settle(engine: Engine) -> None:
    """Let the background work come to its end."""
    while engine.idle() == 0:
        pass


def _ifnames(evidence: NetnsEvidence) -> frozenset[str]:
    return frozenset(netns.run_in(evidence.path, lambda: {name for _, name in socket.if_nameindex()}))


def _nsid(evidence: NetnsEvidence) -> int | None:
    with netns.opened(evidence.path) as descriptor:
        return nsid_of(descriptor)

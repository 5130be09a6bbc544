"""The parts of a daemon, made and joined. Runs in the engine's thread, whose network namespace is the host."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from atoll.daemon.arguments import Arguments
from atoll.daemon.claim import NamespaceClaim
from atoll.daemon.containing import name_options
from atoll.daemon.naming import Naming
from atoll.daemon.relaying import RelayedPorts, Relaying
from atoll.dns.client import NameClient
from atoll.engine.context import HOST_KEY
from atoll.engine.engine import Engine
from atoll.engine.events import Event
from atoll.engine.host import Host
from atoll.errors import InvalidRequest, KernelError, Unavailable
from atoll.kernel import netns
from atoll.kernel.conntrack import flush
from atoll.kernel.diagnosis.view import read_view
from atoll.kernel.facts import read_facts
from atoll.kernel.holder import SocketHolder
from atoll.kernel.monitor import Monitor, nsid_of
from atoll.kernel.nft.firewall import Firewall
from atoll.kernel.real import RealKernel
from atoll.kernel.routes import foreign_defaults
from atoll.model.names import ID_LENGTH
from atoll.model.sandbox import NetnsEvidence
from atoll.relay.client import RelayClient
from atoll.store.sqlite import SqliteStore

STORE_NAME = "atoll.db"
RELAY_NAME = "relay.sock"
NAMES_NAME = "names.sock"


@dataclass(frozen=True, slots=True)
class Parts:
    """A started engine and what has to be ended after it. `engine_id` is the same as long as the state is."""

    engine: Engine
    monitor: Monitor
    engine_id: str
    close: Callable[[], None]


def start_engine(arguments: Arguments, emit: Callable[[Event], None]) -> Parts:
    """Take the namespace and the state, make the parts, and bring the host in line with what is stored.

    `emit` is called from the engine's thread. Raises Unavailable (another daemon), StoreError, KernelError,
    Unsupported, and what `Engine.start` raises; then nothing stays open.
    """
    with ExitStack() as stack:
        stack.callback(NamespaceClaim().release)
        store = SqliteStore(arguments.state / STORE_NAME)
        stack.callback(store.close)
        firewall = Firewall(shared=arguments.shared_tables)
        stack.callback(firewall.close)
        kernel = RealKernel(firewall, flush)
        stack.callback(kernel.close)
        _make_directory(arguments.run)
        relay = RelayClient(arguments.run / RELAY_NAME, netns=Path("/proc/thread-self/ns/net").stat().st_ino)
        stack.callback(relay.close)
        names = NameClient(arguments.run / NAMES_NAME, resolv_conf=arguments.resolv_conf)
        stack.callback(names.close)
        ports = SocketHolder(RelayedPorts(relay))
        # Before the start: what others change from now on is told.
        monitor = Monitor()
        stack.callback(monitor.close)
        engine = Engine(
            store=store,
            kernel=kernel,
            ports=ports,
            host=_host(arguments),
            relay=Relaying(relay, ports),
            names=Naming(names),
            emit=emit,
            name_options=lambda sandbox_id: name_options(engine.world, sandbox_id),
        )
        engine.start()
        # From here on its changes are no news; those of the start may be looked at once.
        monitor.mine((firewall.port_id,))
        return Parts(engine, monitor, store.meta(HOST_KEY), stack.pop_all().close)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise Unavailable(f"cannot make {path}: {reason}", hint=f"ls -ld {path.parent} {path}") from error


def _host(arguments: Arguments) -> Host:
    return Host(
        facts=read_facts,
        evidence=netns.evidence,
        alive=netns.alive,
        ifnames=netns.ifnames,
        nsid=_nsid,
        foreign_defaults=foreign_defaults,
        view=read_view,
        new_id=lambda: secrets.token_hex(ID_LENGTH // 2),
        now_ns=time.time_ns,
        netns_directory=str(arguments.netns_directory),
    )


def _nsid(known: NetnsEvidence) -> int | None:
    with contextlib.suppress(InvalidRequest, KernelError), netns.opened_as(known) as descriptor:
        return nsid_of(descriptor)
    return None

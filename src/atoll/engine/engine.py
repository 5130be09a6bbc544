"""The engine of one host: the verbs, start-up, and the answer to what others change."""

from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar

from atoll.doctor.finding import Finding
from atoll.engine import startup
from atoll.engine.container_verbs import ContainerVerbs
from atoll.engine.context import Context
from atoll.engine.diagnosis import prepare_diagnosis
from atoll.engine.events import Event
from atoll.engine.host import Host
from atoll.engine.names import NameOptions, Names, NoNames, SyncNames, no_options
from atoll.engine.network_verbs import NetworkVerbs
from atoll.engine.outcome import Slices
from atoll.engine.path import Path
from atoll.engine.purge import purge
from atoll.engine.reconciler import Reconciler, named
from atoll.engine.relays import Relays, SyncRelay
from atoll.engine.rules import Rules, network_views
from atoll.engine.sandbox_verbs import SandboxVerbs
from atoll.engine.troubles import Aspect, Troubles
from atoll.engine.watch import Watch
from atoll.errors import Unavailable
from atoll.kernel.hostports import HostPorts
from atoll.kernel.kernel import Kernel
from atoll.kernel.monitor import Lost
from atoll.kernel.notices import Notice
from atoll.model.facts import HostFacts
from atoll.model.firewall import TABLES
from atoll.model.world import World
from atoll.plan.driver import Naming
from atoll.store.store import Store

P = ParamSpec("P")
T = TypeVar("T")


class Engine:
    """The networks of one host. Every method belongs to one thread; `world` may be read from any.

    `emit` gets an Event for everything that happened, in order, from that thread. Verbs raise the
    errors of `atoll.errors` and then have changed nothing, but for removals, which go on past what
    fails and leave it to the reconciler. With `dry_run` a verb claims and plans, and makes nothing.
    `name_options` gives what a sandbox, by id, wants of names; `follow_names` is to be called when that has changed.
    """

    def __init__(
        self,
        *,
        store: Store,
        kernel: Kernel,
        ports: HostPorts,
        host: Host,
        relay: SyncRelay,
        emit: Callable[[Event], None],
        naming: Naming | None = None,
        names: SyncNames | None = None,
        name_options: Callable[[str], NameOptions] = no_options,
    ) -> None:
        path = Path(store, kernel, host)
        troubles = Troubles(emit, host.now_ns, lambda object_id: named(path.world, object_id))
        reconciler = Reconciler(path, kernel, host, troubles, emit)
        self._context = Context(
            store,
            kernel,
            ports,
            host,
            naming or Naming(),
            path,
            reconciler,
            troubles,
            Relays(relay),
            Names(names or NoNames(), name_options),
            emit,
        )
        self._networks = NetworkVerbs(self._context)
        self._sandboxes = SandboxVerbs(self._context)
        self._watch = Watch(self._context, self._sandboxes)
        containers = ContainerVerbs(self._context, self._sandboxes)
        self.ready = False

        self.create_network = self._unless_purged(self._networks.create)
        self.remove_network = self._networks.remove
        self.prune_networks = self._networks.prune
        self.allow = self._networks.allow
        self.disallow = self._networks.disallow
        self.create_sandbox = self._unless_purged(self._sandboxes.create)
        self.remove_sandbox = self._sandboxes.remove
        self.connect = self._unless_purged(self._sandboxes.connect)
        self.disconnect = self._sandboxes.disconnect
        self.keep_container = containers.keep
        self.drop_container = containers.drop
        self.connect_container = self._unless_purged(containers.connect)
        self.disconnect_container = containers.disconnect
        self.create_container_sandbox = self._unless_purged(containers.create_sandbox)
        self.release_container_sandbox = containers.release_sandbox
        self.plan_container_sandbox = containers.plan_sandbox
        self.plan_container_release = containers.plan_release
        self.follow_names = self._context.follow_names
        self.renew_names = self._context.start_names
        self.renew_relay = self._context.start_relay

    @property
    def world(self) -> World:
        """Everything there is, as an immutable snapshot."""
        return self._context.world

    @property
    def facts(self) -> HostFacts:
        """The host's facts as last read."""
        return self._context.path.facts

    @property
    def degraded(self) -> Mapping[str, str]:
        """Reason by object id for what is not as it should be; "" stands for the host."""
        return self._context.troubles.degraded

    def start(self) -> None:
        """Read the store and bring the host's side in line; the insides of sandboxes follow in `idle`.

        Raises StoreError, KernelError, and what the first networks raise (PoolOverlap, Exhausted).
        """
        startup.start(self._context, self._sandboxes)
        self.ready = True

    def purge(self, *, dry_run: bool = False) -> Slices[tuple[int, int]]:
        """Remove everything ever made; gives how many networks and sandboxes, slice by slice.

        Nothing can be made meanwhile, and the engine is of no use afterwards; one that is broken off it is.
        """
        if dry_run:
            yield from purge(self._context, self._networks, self._sandboxes, dry_run=True)
            return
        self._check_ready()
        self.ready = done = False
        try:
            yield from purge(self._context, self._networks, self._sandboxes, dry_run=False)
            done = True
        finally:
            self.ready = not done

    def _unless_purged(self, verb: Callable[P, T]) -> Callable[P, T]:
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            self._check_ready()
            return verb(*args, **kwargs)

        return checked

    def _check_ready(self) -> None:
        if not self.ready:
            raise Unavailable("everything is being removed: nothing can be made meanwhile", hint="atoll up, afterwards")

    def rules(self, *, counters: bool = False) -> Rules:
        """What serves each network in the firewall; the counts of rules and elements are read only when asked for."""
        path, kernel = self._context.path, self._context.kernel
        views = network_views(path.world, path.facts, path.closed, kernel.counts() if counters else {})
        return Rules(TABLES, kernel.owned(), views, kernel.counters() if counters else ())

    def diagnosis(self) -> Callable[[], tuple[Finding, ...]]:
        """A call that finds what is wrong with the host, in some dozens of milliseconds. Any thread may make it."""
        return prepare_diagnosis(self._context)

    def notice(self, notices: Iterable[Notice | Lost], drained_ns: int | None = None) -> None:
        """React to what the monitor saw. Everything from before `drained_ns` was told earlier; by default, nothing."""
        if self.ready:
            self._watch.take(notices, self._context.host.now_ns() if drained_ns is None else drained_ns)

    def sweep(self) -> None:
        """Look at everything again, for what changes without a notice: sysctls, a relay that died."""
        if not self.ready:
            return
        self._context.path.look()
        # A namespace without a cable of ours goes without a notice.
        self._sandboxes.release_dead()
        startup.hold_ports(self._context, self._context.troubles.having(Aspect.PORTS))
        self._context.reconciler.sweep_host()
        self._context.start_relay()
        self._context.start_names()

    def idle(self) -> float | None:
        """Do a slice of background work; seconds to wait before the next, None when there is nothing left."""
        if not self.ready:
            return None
        reaped = self._context.kernel.reap()
        if self._context.reconciler.sweep_some() or reaped:
            return 0.0
        return self._watch.check_postponed()

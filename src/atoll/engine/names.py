"""Which names the name service has to know, and whom it has to answer, followed from change to change."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from atoll.dns.entries import Asker, Entry, Member
from atoll.dns.message import encode_name
from atoll.errors import AtollError
from atoll.model.addresses import IPAddress
from atoll.model.names import short_id
from atoll.model.network import Network
from atoll.model.sandbox import Endpoint, NetnsEvidence, Sandbox, SandboxKind
from atoll.model.world import World

_log = logging.getLogger(__name__)

NAMES_MAX = 256
"""Names of one endpoint that are served; aliases beyond are not."""


@dataclass(frozen=True, slots=True)
class NameOptions:
    """What a sandbox wants of names besides its own and its endpoints' aliases.

    `hostnames` are further names of it on all of its networks. The others are as in `atoll.dns.entries.Asker`.
    """

    hostnames: tuple[str, ...] = ()
    servers: tuple[IPAddress, ...] = ()
    search: tuple[str, ...] = ()
    dotted_only: bool = False


class SyncNames(Protocol):
    """Tells the name service what to know. Both calls give why not, by sandbox id, for whom it can't answer.

    `askers` are the namespaces of those who are to be answered in them. Raise AtollError when the service can't be
    reached or started.
    """

    def sync(self, entries: Mapping[str, Entry], askers: Mapping[str, NetnsEvidence]) -> Mapping[str, str]:
        """Let it know exactly these entries and answer exactly these askers, whatever it knew."""
        ...

    def change(
        self, drop: Sequence[str], put: Sequence[Entry], askers: Mapping[str, NetnsEvidence]
    ) -> Mapping[str, str]:
        """Let it know other entries, and answer these askers too; all else stays."""
        ...


class NoNames:
    """Where there is no name service; a SyncNames."""

    def sync(self, entries: Mapping[str, Entry], askers: Mapping[str, NetnsEvidence]) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def change(
        self, drop: Sequence[str], put: Sequence[Entry], askers: Mapping[str, NetnsEvidence]
    ) -> Mapping[str, str]:
        """Nothing."""
        return {}


def no_options(sandbox_id: str) -> NameOptions:
    """The options of a sandbox that has none."""
    return NameOptions()


class Names:
    """Keeps the name service in line with the world. Used by the engine's thread.

    `options` gives a sandbox's, which are read again whenever the sandbox is followed.
    """

    def __init__(self, service: SyncNames, options: Callable[[str], NameOptions] = no_options) -> None:
        self._service = service
        self._options = options
        self._entries: dict[str, dict[str, Entry]] = {}
        """What was told of each sandbox, by the entries' keys."""
        self._all_due = False
        """The service has to be told everything."""
        self.problems: Mapping[str, str] = MappingProxyType({})
        """Why a sandbox is not answered though it should be, by its id."""

    def start(self, world: World) -> None:
        """Take over all names at once: the service may have outlived a daemon that knew others."""
        self._entries = {}
        for sandbox_id in world.sandboxes:
            self._take_over(world, sandbox_id)
        self._tell_all(world)

    def follow(self, world: World, sandbox_ids: Iterable[str]) -> None:
        """Let the service know what these sandboxes are called now, and answer those of them that ask."""
        drop: list[str] = []
        put: list[Entry] = []
        followed = tuple(sandbox_ids)
        for sandbox_id in followed:
            before = self._entries.get(sandbox_id, {})
            after = self._take_over(world, sandbox_id)
            drop += before.keys() - after.keys()
            put += [entry for key, entry in after.items() if before.get(key) != entry]
        if not self._all_due:
            try:
                failed = self._service.change(drop, put, self._askers(world, followed))
            except AtollError as error:
                _log.debug("names: told everything again: %s %s", error, error.detail)
                self._all_due = True
            else:
                others = {each: problem for each, problem in self.problems.items() if each not in followed}
                self.problems = MappingProxyType({**others, **_prefixed(failed)})
        if self._all_due:
            self._tell_all(world)

    def _take_over(self, world: World, sandbox_id: str) -> dict[str, Entry]:
        entries = {entry.key: entry for entry in entries_of(world, sandbox_id, self._options(sandbox_id))}
        if entries:
            self._entries[sandbox_id] = entries
        else:
            self._entries.pop(sandbox_id, None)
        return entries

    def _tell_all(self, world: World) -> None:
        entries = {key: entry for mine in self._entries.values() for key, entry in mine.items()}
        askers = self._askers(world, self._entries)
        try:
            failed = self._service.sync(entries, askers)
            self._all_due = False
        except AtollError as error:
            _log.error("names: %s %s", error, error.detail)
            failed = dict.fromkeys(askers, str(error))
            self._all_due = True
        self.problems = MappingProxyType(_prefixed(failed))

    def _askers(self, world: World, sandbox_ids: Iterable[str]) -> dict[str, NetnsEvidence]:
        found = {}
        for sandbox_id in sandbox_ids:
            sandbox = world.sandboxes.get(sandbox_id)
            if sandbox is not None and sandbox.netns is not None and sandbox_id in self._entries.get(sandbox_id, {}):
                found[sandbox_id] = sandbox.netns
        return found


def entries_of(world: World, sandbox_id: str, options: NameOptions) -> tuple[Entry, ...]:
    """A sandbox's names on each of its networks; and, where it is to be answered, what it may ask about.

    That is in a namespace that we made: the sockets would keep others'. Source: Docker 28's `DNSNames` of an
    endpoint, and its order of a container's networks.
    """
    sandbox = world.sandboxes.get(sandbox_id)
    if sandbox is None:
        return ()
    places = [(world.networks[each.network_id], each) for each in world.endpoints_of(sandbox_id) if each.addresses]
    if not places:
        return ()
    members = tuple(_member(sandbox, network, endpoint, options) for network, endpoint in places)
    if sandbox.kind is not SandboxKind.MADE or not sandbox.resolves:
        return members
    places.sort(key=lambda place: (-place[1].gateway_priority, place[0].name))
    asker = Asker(
        sandbox.id,
        tuple((network.id, network.name.lower()) for network, _ in places),
        forward=any(not network.internal for network, _ in places),
        servers=options.servers,
        search=tuple(domain.lower().strip(".") for domain in options.search),
        dotted_only=options.dotted_only,
    )
    return (*members, asker)


def _member(sandbox: Sandbox, network: Network, endpoint: Endpoint, options: NameOptions) -> Member:
    names = (sandbox.name, short_id(sandbox.id), *endpoint.aliases, *options.hostnames)
    # In their order, each once; a name that DNS has no room for can't be asked for.
    known = dict.fromkeys(name.lower() for name in names if encode_name(name) is not None)
    addresses = tuple(address.ip for address in endpoint.addresses)
    return Member(endpoint.id, network.id, tuple(known)[:NAMES_MAX], addresses)


def _prefixed(problems: Mapping[str, str]) -> dict[str, str]:
    return {sandbox_id: f"names: {problem}" for sandbox_id, problem in problems.items()}

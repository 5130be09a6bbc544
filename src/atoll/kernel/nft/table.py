"""One table: who owns it, what is in it, and the mark that says it is right.

*Owned* (flags owner and persist, Linux 6.9): nobody else's flush or change reaches it while our
socket lives; after that it stays, an orphan, until the next daemon adopts it with the same message.
nft 1.0.6 can't spell `persist`, so that one message is ours. Kernels without it get a plain table.

*Marked*: the comment of the empty chain `version` holds a digest of the rules' text and one of what
the kernel made of it. Both equal means that nothing needs to be touched. A build is one transaction
and its mark a second: killed between them, the next start builds again.
"""

import errno
import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple

from atoll.errors import KernelError, Unavailable
from atoll.kernel.kernel import Count
from atoll.kernel.nft.codec import EXPR_DATA, EXPR_NAME, counter_of
from atoll.kernel.nft.netlink import (
    Flag,
    Kind,
    Message,
    NetfilterSocket,
    Refused,
    attribute,
    attributes,
    be32,
    first_text,
    parsed,
    text,
)
from atoll.kernel.nft.rules import MARK_CHAIN
from atoll.model.firewall import TABLE, TableFamily

# linux/netfilter/nf_tables.h: NFTA_TABLE_*, NFTA_CHAIN_*, NFTA_SET_*, NFTA_RULE_*
_TABLE_NAME, _TABLE_FLAGS, _TABLE_OWNER = 1, 2, 7
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE, _CHAIN_USERDATA = 1, 3, 4, 5, 7, 12
_SET_TABLE, _SET_NAME, _SET_FLAGS = 1, 2, 3
_SET_TYPES = (4, 5, 6, 7)  # KEY_TYPE, KEY_LEN, DATA_TYPE, DATA_LEN
_SET_EXPR, _SET_EXPRESSIONS = 17, 18  # one that every element gets a copy of; several
_SET_ANONYMOUS, _SET_MAP = 0x1, 0x8
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_UDATA_COMMENT = 0  # NFTNL_UDATA_CHAIN_COMMENT, libnftnl/udata.h


class TableFlag(IntFlag):
    """Source: enum nft_table_flags."""

    DORMANT = 0x1
    OWNER = 0x2
    PERSIST = 0x4


class Status(NamedTuple):
    """What the kernel says of the table: its flags, and the owner's netlink port id (0 for none)."""

    flags: TableFlag
    owner: int


@dataclass(frozen=True, slots=True)
class Content:
    """What is in the table. `sets` has (name, whether a map) of the named ones.

    `digest` stands for all but elements and counters; `mark` is the comment of the mark chain, "" without one.
    """

    chains: tuple[str, ...]
    sets: tuple[tuple[str, bool], ...]
    digest: str
    mark: str


@dataclass(frozen=True, slots=True)
class PlacedCount:
    """A rule's counter; `place` numbers the rules of its chain from 0."""

    chain: str
    place: int
    count: Count


class Table:
    """Our table of a family in the network namespace of `netlink`. A `shared` one is nobody's own."""

    def __init__(self, netlink: NetfilterSocket, family: TableFamily, *, shared: bool = False) -> None:
        self._netlink = netlink
        self._family = family
        self._shared = shared

    def status(self) -> Status | None:
        """The table as it is, None when there is none."""
        try:
            (answer,) = self._netlink.ask([Message(self._family, Kind.GETTABLE, text(_TABLE_NAME, TABLE))])
        except Refused as refused:
            answer = refused
        if isinstance(answer, Refused):
            if answer.errno == errno.ENOENT:
                return None
            raise _error(self._family, "read", answer)
        found = dict(attributes(answer))
        (flags,) = struct.unpack(">I", found[_TABLE_FLAGS])
        (owner,) = struct.unpack(">I", found.get(_TABLE_OWNER, b"\0\0\0\0"))
        return Status(TableFlag(flags), owner)

    @property
    def owned(self) -> bool:
        """True when the table is there and belongs to our socket."""
        status = self.status()
        return status is not None and bool(status.flags & TableFlag.OWNER) and status.owner == self._netlink.port_id

    def claim(self) -> bool:
        """Make the table, or adopt the orphan, owned where the kernel can. True when it was made, and so is empty.

        A plain table stays plain: the kernel can't turn it, and replacing it would open a gap. One that is to be shared
        is left to who fills it, and an owner's orphan removed before. Raises Unavailable when another process owns it.
        """
        status = self.status()
        if self._shared and not (status and status.owner):
            if status is not None and status.flags & TableFlag.PERSIST:
                self.delete()
                return True
            return status is None
        if status is not None:
            if status.flags & TableFlag.OWNER and status.owner != self._netlink.port_id:
                raise _owned_by_another(self._family, status.owner)
            if status.flags & TableFlag.OWNER or not status.flags & TableFlag.PERSIST:
                return False
        try:
            self._netlink.transact([self._new(TableFlag.OWNER | TableFlag.PERSIST)])
        except Refused as refused:
            if refused.errno == errno.EPERM and status is not None:
                raise _owned_by_another(self._family, 0) from refused
            if refused.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise _error(self._family, "make", refused) from refused
            self._make_plain()
        return status is None

    def _new(self, flags: TableFlag) -> Message:
        body = text(_TABLE_NAME, TABLE) + be32(_TABLE_FLAGS, flags)
        return Message(self._family, Kind.NEWTABLE, body, Flag.CREATE)

    def _make_plain(self) -> None:
        try:
            self._netlink.transact([self._new(TableFlag(0))])
        except Refused as refused:
            raise _error(self._family, "make", refused) from refused

    def delete(self) -> None:
        """Remove the table with all in it; no error when there is none. Raises Unavailable, KernelError."""
        try:
            self._netlink.transact([Message(self._family, Kind.DELTABLE, text(_TABLE_NAME, TABLE))])
        except Refused as refused:
            if refused.errno == errno.EPERM:
                raise _owned_by_another(self._family, 0) from refused
            if refused.errno != errno.ENOENT:
                raise _error(self._family, "remove", refused) from refused

    def content(self) -> Content:
        """Read chains, sets and rules: three dumps, no elements. Raises KernelError."""
        digest = hashlib.sha256()
        chains, mark = [], ""
        for chain in self._dump(Kind.GETCHAIN, b""):
            if first_text(chain.get(_CHAIN_TABLE)) != TABLE:  # the kernel dumps those of all tables of the family
                continue
            name = first_text(chain.get(_CHAIN_NAME))
            chains.append(name)
            if name == MARK_CHAIN:
                mark = _comment(chain.get(_CHAIN_USERDATA, b""))
                continue
            digest.update(repr((name, *map(chain.get, (_CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE)))).encode())
        sets = []
        for kind in self._dump(Kind.GETSET, text(_SET_TABLE, TABLE)):
            name = first_text(kind.get(_SET_NAME))
            (flags,) = struct.unpack(">I", kind.get(_SET_FLAGS, b"\0\0\0\0"))
            if not flags & _SET_ANONYMOUS:  # those come and go with their rules
                sets.append((name, bool(flags & _SET_MAP)))
                copied = kind.get(_SET_EXPR, b""), kind.get(_SET_EXPRESSIONS, b"")
                digest.update(repr((name, flags, *map(kind.get, _SET_TYPES), *copied)).encode())
        for chain_name, expressions in self._rules():
            stable = [(name, None if name == "counter" else value) for name, value in expressions]
            digest.update(repr((chain_name, stable)).encode())
        return Content(tuple(chains), tuple(sets), digest.hexdigest()[:16], mark)

    def set_mark(self, mark: str) -> None:
        """Write the mark chain's comment. Raises KernelError."""
        where = text(_CHAIN_TABLE, TABLE) + text(_CHAIN_NAME, MARK_CHAIN)
        octets = mark.encode() + b"\0"
        comment = attribute(_CHAIN_USERDATA, bytes((_UDATA_COMMENT, len(octets))) + octets)
        try:
            self._netlink.transact([Message(self._family, Kind.NEWCHAIN, where + comment, Flag.CREATE)])
        except Refused as refused:
            raise _error(self._family, "mark", refused) from refused

    def counts(self) -> Iterator[PlacedCount]:
        """The counter of every rule that has one, in the order of chains and rules."""
        places: dict[str, int] = {}
        for chain, expressions in self._rules():
            place = places[chain] = places.get(chain, -1) + 1
            for name, value in expressions:
                if name == "counter":
                    yield PlacedCount(chain, place, counter_of(value))

    def _dump(self, kind: Kind, body: bytes) -> Iterator[dict[int, bytes]]:
        try:
            bodies = self._netlink.dump(Message(self._family, kind, body))
        except Refused as refused:
            raise _error(self._family, "read", refused) from refused
        return parsed(bodies)

    def _rules(self) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
        """Each rule as its chain and its expressions (name, payload)."""
        for rule in self._dump(Kind.GETRULE, text(_RULE_TABLE, TABLE)):
            expressions = []
            for _kind, payload in attributes(rule.get(_RULE_EXPRESSIONS, b"")):
                expression = dict(attributes(payload))
                expressions.append((first_text(expression.get(EXPR_NAME)), expression.get(EXPR_DATA, b"")))
            yield first_text(rule.get(_RULE_CHAIN)), expressions


def _comment(userdata: bytes) -> str:
    """The comment among user data: type, length, value, one after the other."""
    offset = 0
    while offset + 2 <= len(userdata):
        kind, length = userdata[offset], userdata[offset + 1]
        if kind == _UDATA_COMMENT:
            return first_text(userdata[offset + 2 : offset + 2 + length])
        offset += 2 + length
    return ""


def _owned_by_another(family: TableFamily, port_id: int) -> Unavailable:
    who = f"port id {port_id}, usually its pid" if port_id else "its netlink socket is open"
    return Unavailable(
        f"table {family.table} is owned by another process ({who})",
        hint="atoll down" if not port_id else f"ps -p {port_id}",
        subject=TABLE,
    )


def _error(family: TableFamily, verb: str, refused: Refused) -> KernelError:
    return KernelError(
        f"cannot {verb} table {family.table}: {os.strerror(refused.errno)}",
        errno=refused.errno,
        hint=f"nft list table {family.table}",
        subject=TABLE,
        detail=str(refused),
    )

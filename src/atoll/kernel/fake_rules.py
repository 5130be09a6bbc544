"""What the kernel refuses, and what comes and goes along: the rules of the fake kernel's state.

Law: pure functions over a state that the caller owns.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import replace

from atoll.errors import KernelError
from atoll.kernel.describe import step_words
from atoll.model.addresses import Family, family_of
from atoll.model.fresh import interface_sysctls
from atoll.model.items import (
    HOST,
    Address,
    Bridge,
    Element,
    Interface,
    Item,
    Joint,
    Neighbour,
    Netns,
    Route,
    State,
    Sysctl,
    Veth,
)
from atoll.model.ops import Op, Verb


def require_room(state: State, op: Op, there: Item | None, *, reachable: bool) -> None:
    """Raise KernelError when the kernel would refuse to add or change the item.

    `there` is what has its key; `reachable`: its namespace, and that of its other end, exists.
    """
    item = op.item
    if not reachable:
        raise _refused(op, errno.ENODEV if isinstance(item, Veth) else errno.ENOENT, "the namespace is gone")
    if isinstance(item, Bridge | Veth | Joint):
        _require_own_link(op, item, there)
    if op.verb is Verb.ADD and there is not None and isinstance(item, Element | Route):
        raise _refused(op, errno.EEXIST)
    match item:
        case Veth():
            _require_bridge(state, op, item.bridge)
            inner = ("interface", item.netns, item.peer_ifname)
            if op.verb is Verb.ADD and inner in state:
                raise _refused(op, errno.EEXIST, f"{item.peer_ifname} is in the namespace already")
        case Joint():
            _require_bridge(state, op, item.bridge)
            _require_bridge(state, op, item.far_bridge)
            far_ends = {other.far_ifname for other in state.values() if isinstance(other, Joint)}
            if op.verb is Verb.ADD and (("link", HOST, item.far_ifname) in state or item.far_ifname in far_ends):
                raise _refused(op, errno.EEXIST, f"{item.far_ifname} exists already")
        case Interface() | Address() | Route() | Neighbour():
            _require_link(state, op, item)
        case Sysctl():
            ifname = _conf_ifname(item)
            if ifname not in ("", "all", "default", "lo") and not _has_link(state, item.netns, ifname):
                raise _refused(op, errno.ENOENT)


def settle(state: State, item: Item) -> None:
    """Put the item in, with what comes along and without what it drives out."""
    match item:
        case Veth():
            inner = Interface(item.netns, item.peer_ifname, "", item.mtu_bytes)
            if inner.key not in state:
                state[inner.key] = inner
                conf = f"net/ipv6/conf/{item.peer_ifname}"
                made = state.get(("netns", item.netns))
                for name, value in interface_sysctls(ipv6=isinstance(made, Netns) and made.ipv6).items():
                    settle(state, Sysctl(item.netns, f"{conf}/{name}", value))
        case Bridge():
            there = state.get(item.key)
            if isinstance(there, Bridge) and there.mac != item.mac:
                for neighbour in _on(state, HOST, item.ifname):
                    if isinstance(neighbour, Neighbour):
                        del state[neighbour.key]
        case Sysctl() if item.path.endswith("/disable_ipv6") and item.value == "1":
            for address in _on(state, item.netns, _conf_ifname(item)):
                if isinstance(address, Address) and family_of(address.address) is Family.V6:
                    del state[address.key]
    state[item.key] = item


def drop_with(state: State, item: Item) -> None:
    """Take the item out, and all that can't be without it."""
    state.pop(item.key, None)
    match item:
        case Netns():
            for other in list(state.values()):
                if getattr(other, "netns", None) == item.id:
                    state.pop(other.key, None)
        case Veth():
            state.pop(("interface", item.netns, item.peer_ifname), None)
            for other in _on(state, item.netns, item.peer_ifname):
                del state[other.key]
        case Bridge():
            for other in _on(state, HOST, item.ifname):
                del state[other.key]
            for other in list(state.values()):
                if isinstance(other, Veth) and other.bridge == item.ifname:
                    state[other.key] = replace(other, bridge="", hairpin=False, isolated=False)
                elif isinstance(other, Joint) and other.bridge == item.ifname:
                    state[other.key] = replace(other, bridge="", isolated=False)
                elif isinstance(other, Joint) and other.far_bridge == item.ifname:
                    state[other.key] = replace(other, far_bridge="")
        case Interface():
            # It only goes down with this op; it goes away with its pair. Routes don't outlive that.
            state[item.key] = replace(item, mac="")
            for other in _on(state, item.netns, item.ifname):
                if isinstance(other, Route):
                    del state[other.key]


def _require_bridge(state: State, op: Op, ifname: str) -> None:
    if not isinstance(state.get(("link", HOST, ifname)), Bridge):
        raise _refused(op, errno.ENODEV, f"no bridge {ifname}")


def _require_own_link(op: Op, item: Bridge | Veth | Joint, there: Item | None) -> None:
    if there is None:
        if op.verb is Verb.CHANGE:
            raise _refused(op, errno.ENODEV, f"no interface {item.ifname}")
        return
    owner = getattr(there, "alias", "") or "somebody else"
    if op.verb is Verb.ADD or owner != item.alias:
        what = "differs" if owner == item.alias else f"belongs to {owner}"
        raise _refused(op, errno.EEXIST, f"the interface exists and {what}")


def _require_link(state: State, op: Op, item: Interface | Address | Route | Neighbour) -> None:
    if not _has_link(state, item.netns, item.ifname):
        raise _refused(op, errno.ENODEV, f"no interface {item.ifname}")
    if isinstance(item, Address) and family_of(item.address) is Family.V6:
        switch = state.get(("sysctl", item.netns, f"net/ipv6/conf/{item.ifname}/disable_ipv6"))
        if isinstance(switch, Sysctl) and switch.value == "1":
            raise _refused(op, errno.EACCES)
    if isinstance(item, Route) and item.gateway is not None:
        addresses = [each.address for each in _on(state, item.netns, item.ifname) if isinstance(each, Address)]
        if not any(item.gateway in address.network for address in addresses):
            raise _refused(op, errno.ENETUNREACH if family_of(item.gateway) is Family.V4 else errno.EHOSTUNREACH)


def _has_link(state: State, netns: str, ifname: str) -> bool:
    return ("link", netns, ifname) in state or ("interface", netns, ifname) in state


def _on(state: State, netns: str, ifname: str) -> Iterator[Item]:
    """Addresses, routes, neighbours and sysctls of a link."""
    for item in list(state.values()):
        match item:
            case Address() | Route() | Neighbour() if (item.netns, item.ifname) == (netns, ifname):
                yield item
            case Sysctl() if (item.netns, _conf_ifname(item)) == (netns, ifname):
                yield item


def _conf_ifname(item: Sysctl) -> str:
    """The interface of net/FAMILY/conf/IFNAME/NAME; "" for other paths."""
    parts = item.path.split("/")
    return parts[3] if len(parts) == 5 and parts[2] == "conf" else ""


def _refused(op: Op, code: int, reason: str = "") -> KernelError:
    return KernelError(
        f"cannot {step_words(op)}: {reason or os.strerror(code).lower()}", errno=code, detail=errno.errorcode[code]
    )

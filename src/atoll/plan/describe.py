"""A step as the command a person would type to do the same."""

from typing import assert_never

from atoll.model.addresses import Family
from atoll.model.firewall import SETS, element_text
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
    Sysctl,
    Veth,
)
from atoll.model.ops import Announce, FlushConntrack, Op, Step, Verb
from atoll.plan.driver import netns_name


def line(step: Step) -> str:
    """One shell line (or several, joined by `; `) equivalent to a step. For people: nothing runs it."""
    match step:
        case Op():
            return _op(step)
        case FlushConntrack():
            return _flush(step)
        case Announce():
            tool = "arping -U" if step.address.version == 4 else "ndsend"
            return f"{_at(step.netns)}{tool} {step.address} {step.ifname}"
        case _:
            assert_never(step)


def _op(op: Op) -> str:
    if op.verb is Verb.REMOVE:
        return _remove(op.item)
    return _add(op.item, changed=op.verb is Verb.CHANGE)


def _at(netns: str) -> str:
    return "" if netns == HOST else f"ip netns exec {netns_name(netns)} "


def _ip(netns: str, *, family: int = 4) -> str:
    words = ["ip"]
    if family == 6:
        words.append("-6")
    if netns != HOST:
        words.append(f"-n {netns_name(netns)}")
    return " ".join(words)


def _mtu(mtu_bytes: int) -> str:
    return f" mtu {mtu_bytes}" if mtu_bytes else ""


def _add(item: Item, *, changed: bool) -> str:
    replace = "replace" if changed else "add"
    match item:
        case Netns():
            return f"ip netns add {netns_name(item.id)}; ip -n {netns_name(item.id)} link set lo up"
        case Bridge():
            verb = f"set {item.ifname}" if changed else f"add {item.ifname}"
            kind = "" if changed else " type bridge no_linklocal_learn 1 mcast_snooping 0"
            return (
                f"ip link {verb} address {item.mac}{_mtu(item.mtu_bytes)}{kind}; "
                f"ip link set {item.ifname} up alias {item.alias}"
            )
        case Veth():
            return _veth(item, changed=changed)
        case Joint():
            return _joint(item, changed=changed)
        case Interface():
            return f"{_ip(item.netns)} link set {item.ifname} address {item.mac}{_mtu(item.mtu_bytes)} up"
        case Sysctl():
            return f"{_at(item.netns)}sysctl -w {item.path.replace('/', '.')}={item.value}"
        case Address():
            nodad = " nodad" if item.address.version == 6 else " broadcast +"
            return f"{_ip(item.netns)} addr {replace} {item.address}{nodad} dev {item.ifname}"
        case Route():
            return f"{_ip(item.netns, family=item.destination.version)} route {replace} {_route(item)}"
        case Neighbour():
            return f"{_ip(item.netns)} neigh replace {item.address} lladdr {item.mac} dev {item.ifname} nud permanent"
        case Element():
            where = f"{SETS[item.set].family.table} {item.set}"
            text = f"nft add element {where} '{element_text(item)}'"
            return f"nft delete element {where} '{element_text(item, data=False)}'; {text}" if changed else text
        case _:
            assert_never(item)


def _veth(item: Veth, *, changed: bool) -> str:
    port = _port(item)
    if changed:
        return port
    return (
        f"ip link add {item.ifname}{_mtu(item.mtu_bytes)} type veth peer name {item.peer_ifname}"
        f" address {item.peer_mac}{_mtu(item.mtu_bytes)} netns {netns_name(item.netns)}; {port}"
    )


def _joint(item: Joint, *, changed: bool) -> str:
    ports = (
        f"{_port(item)}; ip link set {item.far_ifname} master {item.far_bridge} up{_mtu(item.mtu_bytes)}"
        f" alias {item.far_alias}"
    )
    if changed:
        return ports
    mtu = _mtu(item.mtu_bytes)
    return f"ip link add {item.ifname}{mtu} type veth peer name {item.far_ifname}{mtu}; {ports}"


def _port(item: Veth | Joint) -> str:
    hairpin = isinstance(item, Veth) and item.hairpin
    return (
        f"ip link set {item.ifname} master {item.bridge} up alias {item.alias}; bridge link set dev {item.ifname}"
        f" isolated {_switch(item.isolated)} hairpin {_switch(hairpin)}"
    )


def _switch(value: bool) -> str:
    return "on" if value else "off"


def _route(item: Route) -> str:
    words = ["local"] if item.local else []
    words.append("default" if item.destination.prefixlen == 0 else str(item.destination))
    if item.gateway is not None:
        words.append(f"via {item.gateway}")
    words.append(f"dev {item.ifname}")
    if item.local:
        words.append("table local")
    if item.metric:
        words.append(f"metric {item.metric}")
    words.append("proto 167")
    return " ".join(words)


def _remove(item: Item) -> str:
    match item:
        case Netns():
            return f"ip netns del {netns_name(item.id)}"
        case Bridge() | Veth() | Joint():
            return f"ip link del {item.ifname}"
        case Interface():
            return f"{_ip(item.netns)} link set {item.ifname} down"
        case Sysctl():
            return f"# {item.path} is left as it is"
        case Address():
            return f"{_ip(item.netns)} addr del {item.address} dev {item.ifname}"
        case Route():
            return f"{_ip(item.netns, family=item.destination.version)} route del {_route(item)}"
        case Neighbour():
            return f"{_ip(item.netns)} neigh del {item.address} dev {item.ifname}"
        case Element():
            where = f"{SETS[item.set].family.table} {item.set}"
            return f"nft delete element {where} '{element_text(item, data=False)}'"
        case _:
            assert_never(item)


def _flush(step: FlushConntrack) -> str:
    words = ["conntrack -D"]
    family = next((value.version for value in (step.address, step.source) if value is not None), Family.V4)
    if family == Family.V6:
        words.append("-f ipv6")
    if step.protocol is not None:
        words.append(f"-p {step.protocol.word}")
    if step.source is not None:
        words.append(f"-s {step.source}")
    if step.address is not None:
        words.append(f"-d {step.address}")
    if step.ports is not None:
        words.append(f"--dport {step.ports}")
    return " ".join(words)

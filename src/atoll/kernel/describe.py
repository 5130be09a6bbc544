"""Items and steps in a few words, for error messages."""

from typing import assert_never

from atoll.model.firewall import element_text
from atoll.model.items import (
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
from atoll.model.ops import Announce, FlushConntrack, Op, Step


def item_words(item: Item) -> str:
    """What kind of thing it is, and which."""
    match item:
        case Netns():
            return f"namespace {item.path}"
        case Bridge():
            return f"bridge {item.ifname}"
        case Veth():
            return f"veth {item.ifname}"
        case Joint():
            return f"joint {item.ifname}"
        case Interface():
            return f"interface {item.ifname}"
        case Sysctl():
            return f"sysctl {item.path.replace('/', '.')}={item.value}"
        case Address():
            return f"address {item.address} on {item.ifname}"
        case Route():
            way = f"via {item.gateway} on {item.ifname}" if item.gateway else f"on {item.ifname}"
            return f"{'local ' if item.local else ''}route to {item.destination} {way}"
        case Neighbour():
            return f"neighbour {item.address} on {item.ifname}"
        case Element():
            return f"element {element_text(item)} of set {item.set}"
        case _:
            assert_never(item)


def step_words(step: Step) -> str:
    """What a step does: "add bridge atoll0"."""
    match step:
        case Op():
            return f"{step.verb} {item_words(step.item)}"
        case FlushConntrack():
            return f"forget connections of {step.address or step.source or 'any address'}"
        case Announce():
            return f"announce {step.address} on {step.ifname}"
        case _:
            assert_never(step)

"""Marked frames sent all together, and which of them arrived where they were aimed."""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from atoll.lab.namespace import Namespace
from tests.e2e.security.air import SETTLE_S, Listener, shoot
from tests.e2e.security.ledger import Ledger
from tests.e2e.security.stage import Stage


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame with a mark in it, and whether it must arrive at the web of `net`."""

    promise: str
    net: str
    version: int
    sender: Namespace
    frame: bytes
    mark: bytes
    arrives: bool = False


def marks() -> Iterator[bytes]:
    """Texts that occur once each and not by chance."""
    number = 0
    while True:
        number += 1
        yield b"mark %09d." % number


def judge(stage: Stage, ledger: Ledger, shots: list[Shot]) -> list[str]:
    """Send them, listen at every web, write down what came, and return what came out wrong.

    What must not arrive is sent first: when the rest has come, it has had its time.
    """
    listeners = {net: Listener(stage.web(net)) for net in {shot.net for shot in shots}}
    by_sender: dict[Namespace, list[Shot]] = defaultdict(list)
    for shot in sorted(shots, key=lambda shot: shot.arrives):
        by_sender[shot.sender].append(shot)
    for sender, mine in by_sender.items():
        shoot(sender, [shot.frame for shot in mine])
    for net, listener in listeners.items():
        listener.wait_for(shot.mark for shot in shots if shot.net == net and shot.arrives)
    time.sleep(SETTLE_S)
    for listener in listeners.values():
        listener.stop()
    wrong: dict[tuple[str, str, bool], list[str]] = defaultdict(list)
    for shot in shots:
        found = wrong[shot.promise, shot.net, shot.arrives]
        if listeners[shot.net].heard(shot.mark) is not shot.arrives:
            found.append(f"IPv{shot.version} {'lost' if shot.arrives else 'arrived'}")
    for (promise, net, arrives), seen in wrong.items():
        meant = "arrives" if arrives else "doesn't arrive"
        ledger.decide(f"{promise} {meant}", net, kept=not seen, seen=", ".join(seen))
    return [f"{promise}, {net}: {', '.join(seen)}" for (promise, net, _), seen in wrong.items() if seen]

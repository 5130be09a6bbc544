"""What is done to containers while the daemon dies, and what may be seen of them afterwards."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.daemon import DaemonHost

BOX = "/containers/box"
PORT = 8080
ALWAYS = {"Name": "always"}

Act = Callable[[DaemonHost], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """A container as clients see it: its state in a word, its networks."""

    status: str
    networks: frozenset[str] = frozenset({"bridge"})


GONE = None
"""In place of what is seen, where there is no such container."""


@dataclass(frozen=True, slots=True)
class Deed:
    """`prepare` is done unharmed, `act` is what the daemon dies of; then one of `outcomes` is there, the last one of
    a deed that came to its end.
    """

    name: str
    prepare: Act
    act: Act
    outcomes: tuple[Seen | None, ...]


def body(**host: Any) -> dict[str, Any]:
    """A web server that is published, with a volume of its own, and ends when it is told to."""
    # The first process of a namespace hears only what it has asked to hear.
    script = "trap 'exit 0' TERM; httpd -h /etc; while :; do sleep 600 & wait $!; done"
    return {
        "Image": "busybox",
        "Cmd": ["sh", "-c", script],
        "Volumes": {"/data": {}},
        "HostConfig": {"RestartPolicy": ALWAYS, "PortBindings": {"80/tcp": [{"HostPort": str(PORT)}]}, **host},
    }


def nothing(host: DaemonHost) -> None:
    """No container."""


def create(host: DaemonHost) -> None:
    """A container with a named volume and one without a name."""
    host.must("POST", "/containers/create?name=box", body(Binds=["fresh:/kept"]))


def created(host: DaemonHost) -> None:
    """A container that was never started."""
    host.must("POST", "/containers/create?name=box", body())


def start(host: DaemonHost) -> None:
    """It runs."""
    host.must("POST", f"{BOX}/start")


def running(host: DaemonHost) -> None:
    """A container that runs."""
    created(host)
    start(host)


def stop(host: DaemonHost) -> None:
    """It is asked to end."""
    host.must("POST", f"{BOX}/stop?t=2")


def stopped(host: DaemonHost) -> None:
    """A container that ran."""
    running(host)
    stop(host)


def pause(host: DaemonHost) -> None:
    """It is frozen."""
    host.must("POST", f"{BOX}/pause")


def unpause(host: DaemonHost) -> None:
    """It goes on."""
    host.must("POST", f"{BOX}/unpause")


def remove(host: DaemonHost) -> None:
    """It goes, and its volume with it."""
    host.must("DELETE", f"{BOX}?v=1&force=1")


def other_network(host: DaemonHost) -> None:
    """The network that it is connected to."""
    host.must("POST", "/networks/create", {"Name": "other"})


def connect(host: DaemonHost) -> None:
    """One more network."""
    host.must("POST", "/networks/other/connect", {"Container": "box"})


def disconnect(host: DaemonHost) -> None:
    """One network less."""
    host.must("POST", "/networks/bridge/disconnect", {"Container": "box"})


def then(*acts: Act) -> Act:
    """One after another."""

    def all_of_them(host: DaemonHost) -> None:
        for act in acts:
            act(host)

    return all_of_them


def on(status: str, *networks: str) -> Seen:
    """A container in this state on these networks."""
    return Seen(status, frozenset(networks or ("bridge",)))


DEEDS = (
    Deed("create", nothing, create, (GONE, on("created"))),
    Deed("start", created, start, (on("created"), on("running"))),
    Deed("start again", stopped, start, (on("exited"), on("running"))),
    Deed("stop", running, stop, (on("running"), on("exited"))),
    Deed("pause", running, pause, (on("running"), on("paused"))),
    Deed("unpause", then(running, pause), unpause, (on("paused"), on("running"))),
    Deed("remove one that runs", running, remove, (on("running"), on("exited"), GONE)),
    Deed("remove", stopped, remove, (on("exited"), GONE)),
    Deed(
        "connect one that runs",
        then(other_network, running),
        connect,
        (on("running"), on("running", "bridge", "other")),
    ),
    Deed("connect", then(other_network, stopped), connect, (on("exited"), on("exited", "bridge", "other"))),
    Deed(
        "disconnect one that runs",
        then(other_network, running, connect),
        disconnect,
        (on("running", "bridge", "other"), on("running", "other")),
    ),
    Deed(
        "disconnect",
        then(other_network, stopped, connect),
        disconnect,
        (on("exited", "bridge", "other"), on("exited", "other")),
    ),
)


def see(host: DaemonHost) -> Seen | None:
    """The only container there may be, as the list and the inspection both tell it."""
    found = host.must("GET", "/containers/json?all=1")
    if not found:
        assert host.ask("GET", f"{BOX}/json").status == 404
        return GONE
    (listed,) = found
    inspected = host.must("GET", f"{BOX}/json")
    assert listed["Names"] == ["/box"] and listed["Id"] == inspected["Id"], json.dumps(listed)
    assert listed["State"] == inspected["State"]["Status"]
    return Seen(listed["State"], frozenset(inspected["NetworkSettings"]["Networks"]))

"""atoll's own daemon, asked over its socket, as a client waits for it."""

from typing import Any

from atoll.lab.daemon import Daemon
from atoll.lab.host import Host
from bench.client import Client
from bench.peers.peer import Ports

NETWORK = "dual"


class Atoll:
    """A Peer, and more: several sandboxes at a time."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.client = Client(daemon.socket)

    @classmethod
    def on(cls, host: Host) -> "Atoll":
        """A daemon started on `host`, with the network."""
        started = cls(host.start_daemon())
        started.make_network(NETWORK)
        return started

    def attach(self, ports: Ports) -> float:
        """As Peer.attach."""
        return self.create("sandbox", [f"{host}:{container}" for host, container in ports])

    def detach(self) -> float:
        """As Peer.detach: until the answer. The cable is deleted a little later."""
        return self.remove("sandbox")

    def make_network(self, name: str, subnet: str = "", *, ipv6: bool = True) -> None:
        """A network of both families, or of IPv4 alone; `subnet` is the IPv4 one, chosen by default."""
        body: dict[str, Any] = {"Name": name, "EnableIPv6": ipv6}
        if subnet:
            body["IPAM"] = {"Config": [{"Subnet": subnet}]}
        self.client.timed("POST", "/networks/create", body)

    def create(self, name: str, publish: list[str], *, network: str = NETWORK) -> float:
        """Seconds that the request for a sandbox takes."""
        body = {"Name": name, "Endpoints": [{"Network": network}], "Publish": publish}
        return self.client.timed("POST", "/atoll/sandboxes/create", body)

    def remove(self, name: str) -> float:
        """Seconds that the request to remove it takes."""
        return self.client.timed("DELETE", f"/atoll/sandboxes/{name}")

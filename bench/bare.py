"""A host set up by hand with as little as does the job: one bridge, cables, a rule or two."""

from atoll.lab.host import Host
from bench.scene import Scene

SUBNET, GATEWAY = "10.77.0", "10.77.0.1"
TABLE = "table ip bare"
NAT_IN = "type nat hook prerouting priority dstnat"
NAT_OUT = "type nat hook postrouting priority srcnat"


class Bare:
    """One host with a bridge, and namespaces on it."""

    def __init__(self, scene: Scene, name: str, *, filters: bool = False) -> None:
        self.host = scene.machine(name, forwarding=True, filters=filters)
        self._scene = scene
        self._guests = 0
        self._batch(f"link add br0 type bridge\naddr add {GATEWAY}/24 dev br0\nlink set br0 up\n")

    def guest(self) -> tuple[Host, str]:
        """A namespace on the bridge with a route out, and its address."""
        self._guests += 1
        guest = self._scene.host(f"{self.host.name}-g{self._guests}")
        address = f"{SUBNET}.{self._guests + 1}"
        port = f"guest{self._guests}"
        self._batch(
            f"link add {port} type veth peer name eth0 netns {guest.path.name}\n"
            f"link set {port} master br0\nlink set {port} up\n"
        )
        guest.run(
            ["ip", "-batch", "-"],
            stdin=f"addr add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {GATEWAY}\n",
        )
        return guest, address

    def masquerade(self) -> None:
        """Let guests out behind the host's address."""
        rule = f'ip saddr {SUBNET}.0/24 oifname "eth0" masquerade'
        self.host.run("nft -f -", stdin=f"{TABLE} {{ chain out {{ {NAT_OUT}; {rule}; }}; }}\n")

    def lead_in(self, port: int, address: str) -> None:
        """Lead one TCP port of the host to a guest."""
        rule = f"fib daddr type local tcp dport {port} dnat to {address}:{port}"
        self.host.run("nft -f -", stdin=f"{TABLE} {{ chain in {{ {NAT_IN}; {rule}; }}; }}\n")

    def chain_in(self, first: int, count: int, address: str) -> None:
        """Lead so many TCP ports in a row, each to the next higher number, by a rule each in one iptables chain."""
        rules = (
            f"-A PUBLISHED -p tcp --dport {port} -j DNAT --to-destination {address}:{port + 1}\n"
            for port in range(first, first + count)
        )
        text = f"*nat\n:PUBLISHED -\n-A PREROUTING -m addrtype --dst-type LOCAL -j PUBLISHED\n{''.join(rules)}COMMIT\n"
        self.host.run("iptables-restore", stdin=text, timeout_s=120)

    def _batch(self, lines: str) -> None:
        self.host.run(["ip", "-batch", "-"], stdin=lines)

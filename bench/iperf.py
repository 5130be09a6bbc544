"""iperf3, unpacked: a server that stays, and one transfer at a time."""

import json

from atoll.errors import Unavailable
from atoll.lab.namespace import Namespace
from bench.peers.unpacked import unpacked

PORT = 5201
TIMEOUT_S = 120


def serve(space: Namespace) -> None:
    """Start a server in a namespace and wait until it listens; the lab ends it. Raises Unavailable."""
    server = space.start([*_command(), "--server", "--forceflush", "--interval", "0", "--port", str(PORT)])
    assert server.stdout is not None
    for line in server.stdout:
        if "listening" in line:
            return
    raise Unavailable(f"iperf3 doesn't listen in {space.name}: {server.communicate()[1].strip()}")


def transfer(space: Namespace, address: str, octets: int) -> float:
    """Bits a second at which a namespace sends so many bytes by one TCP connection, as the receiver counts them."""
    options = ["--client", address, "--port", str(PORT), "--bytes", str(octets), "--json"]
    done = space.run([*_command(), *options], timeout_s=TIMEOUT_S)
    return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"])


def _command() -> list[str]:
    root = unpacked("iperf3") / "usr"
    libraries = ":".join(str(path.parent) for path in root.glob("lib/*/libiperf.so.0"))
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(root / "bin" / "iperf3")]

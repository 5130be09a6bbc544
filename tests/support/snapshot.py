"""What standard tools see of a host made of a namespace, as comparable text.

Invariant: nothing of atoll's own code takes part, so that it can't agree with itself by mistake.
"""

import json
import re
import subprocess
from pathlib import Path

_KEPT = frozenset(
    {"ifname", "address", "mtu", "master", "ifalias", "dst", "gateway", "dev", "metric", "protocol", "type", "table"}
    | {"lladdr", "state", "scope", "prefsrc", "link_type"}
)


def run_in(netns: str, *command: str) -> str:
    """Output of a command run in the namespace at a path, in this mount namespace. Raises CalledProcessError."""
    full = ["nsenter", f"--net={netns}", *command]
    return subprocess.run(full, capture_output=True, text=True, check=True, timeout=20).stdout


def ip_json(netns: str, *arguments: str) -> list[dict[str, object]]:
    """`ip -j ...` inside a namespace."""
    return json.loads(run_in(netns, "ip", "-j", *arguments) or "[]")


def host_text(netns: str, netns_directory: Path) -> str:
    """Links, addresses, routes, neighbours and rules of a host, and the same of every namespace it made."""
    parts = [f"== host\n{_inside(netns)}", f"== rules\n{_rules(netns)}"]
    for made in sorted(netns_directory.iterdir()) if netns_directory.is_dir() else []:
        parts.append(f"== {made.name}\n{_inside(str(made))}")
    return re.sub(r"\b[0-9a-f]{64}\b", "ID", "\n".join(parts))


def _inside(netns: str) -> str:
    lines = []
    for link in ip_json(netns, "-d", "link"):
        up = "UP" in link.get("flags", [])  # type: ignore[operator]
        port = link.get("linkinfo", {}).get("info_slave_data", {})  # type: ignore[attr-defined]
        flags = {key: port.get(key) for key in ("hairpin", "isolated")}
        if _is_cable(link):
            del link["address"]  # the kernel's choice, and nobody speaks from it
        lines.append(f"link {_plain(link)} up={up} {flags}")
    for link in ip_json(netns, "addr"):
        for address in link["addr_info"]:  # type: ignore[attr-defined]
            if not (address["family"] == "inet6" and address["scope"] == "link"):
                lines.append(f"addr {link['ifname']} {address['local']}/{address['prefixlen']}")
    for family in ("-4", "-6"):
        for route in ip_json(netns, family, "route", "show", "table", "all"):
            if route.get("protocol") == "167":
                lines.append(f"route {_plain(route)}")
    for neighbour in ip_json(netns, "neigh", "show", "nud", "permanent"):
        lines.append(f"neigh {_plain(neighbour)}")
    return "\n".join(sorted(lines))


def _is_cable(link: dict[str, object]) -> bool:
    """True of an end of a veth pair of atoll's on the host."""
    kind = link.get("linkinfo", {}).get("info_kind")  # type: ignore[attr-defined]
    return kind == "veth" and str(link.get("ifalias", "")).startswith("atoll:")


def _plain(values: dict[str, object]) -> str:
    kept = {key: value for key, value in values.items() if key in _KEPT}
    return json.dumps(kept, sort_keys=True)


def _rules(netns: str) -> str:
    text = run_in(netns, "nft", "list", "ruleset")
    # Whether a process owns the table just now is no part of what it holds.
    text = re.sub(r" # progname \S+|\n\tflags( owner|persist|,)*[ ]*(?=\n\n)", "", text)
    text = re.sub(r"counter packets \d+ bytes \d+", "counter", text)
    # Elements come in hash order.
    return re.sub(r"elements = \{([^}]*)\}", _sorted_elements, text)


def _sorted_elements(match: re.Match[str]) -> str:
    elements = sorted(" ".join(part.split()) for part in match.group(1).split(","))
    return "elements = { " + ", ".join(elements) + " }"

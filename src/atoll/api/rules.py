"""atoll's JSON for steps and for what serves a network in the firewall. Pure. Shapes: docs/api.md."""

from typing import Any

from atoll.engine.outcome import Outcome
from atoll.engine.rules import ElementView, NetworkView, Rules


def encode_plan(outcome: Outcome[Any]) -> dict[str, Any]:
    """What a dry run answers: the steps it would take, as lines that a person would type, and its warnings."""
    return {
        "Steps": [{"Line": line, "Reason": reason} for line, reason in outcome.lines],
        "Warnings": list(outcome.warnings),
    }


def encode_rules(rules: Rules) -> dict[str, Any]:
    """What GET /atoll/rules answers."""
    return {
        "Tables": list(rules.tables),
        "Owned": rules.owned,
        "Networks": [_encode_network(network) for network in rules.networks],
        "Counters": [
            {
                "Table": each.table,
                "Chain": each.chain,
                "Rule": each.rule,
                "Packets": each.count.packets,
                "Bytes": each.count.octets,
            }
            for each in rules.counters
        ],
    }


def _encode_network(network: NetworkView) -> dict[str, Any]:
    return {
        "Name": network.name,
        "Bridge": network.bridge,
        "BridgeId": network.bridge_id,
        "Ports": list(network.ports),
        "Segments": [{"Bridge": bridge, "Ports": list(ports)} for bridge, ports in network.segments],
        "Elements": [_encode_element(element) for element in network.elements],
        "Iptables": list(network.iptables),
    }


def _encode_element(element: ElementView) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Table": element.table,
        "Set": element.set,
        "Text": element.text,
        "Meaning": element.meaning,
    }
    if element.count is not None:
        body |= {"Packets": element.count.packets, "Bytes": element.count.octets}
    return body

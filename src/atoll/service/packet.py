"""One JSON object a SOCK_SEQPACKET packet: encoded, parsed, its fields taken out with their types checked.

Law: pure; bytes from outside end as a value or as InvalidRequest.
"""

import json
from collections.abc import Mapping
from typing import Any

from atoll.errors import InvalidRequest

PACKET_BYTES_MAX = 65536
SOCKETS_MAX = 253
"""Sockets in one packet: SCM_MAX_FD, net/scm.h."""


def encode(body: Mapping[str, Any]) -> bytes:
    """A message as a packet."""
    return json.dumps(body, separators=(",", ":")).encode()


def parse(packet: bytes) -> dict[str, Any]:
    """A message from a packet. Raises InvalidRequest."""
    try:
        body = json.loads(packet)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"message {packet[:40]!r} is not JSON") from None
    if not isinstance(body, dict):
        raise InvalidRequest(f"message {packet[:40]!r} is not an object")
    return body


def text(body: Mapping[str, Any], name: str) -> str:
    """A field that is text. Raises InvalidRequest."""
    value = body.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"message has no text {name!r}")
    return value


def number(body: Mapping[str, Any], name: str) -> int:
    """A field that is a whole number. Raises InvalidRequest."""
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidRequest(f"message has no number {name!r}")
    return value


def texts(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A field that is a list of texts. Raises InvalidRequest."""
    value = body.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidRequest(f"message has no texts {name!r}")
    return tuple(value)

"""Names and ids: what may be called what.

Every name that can reach an nft set, a sysctl path or a file name is checked here, once.
"""

import re

from atoll.errors import InvalidRequest

ID_LENGTH = 64
SHORT_ID_LENGTH = 12
NAME_LENGTH_MAX = 128
IFNAME_LENGTH_MAX = 15
"""IFNAMSIZ - 1, linux/if.h."""

SHOWN_LENGTH_MAX = 80

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z")
_IFNAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*\Z")
_ID = re.compile(r"[0-9a-f]{64}\Z")


def parse_name(kind: str, text: str) -> str:
    """Return `text` when it can name a network or a sandbox (`kind` says which, for the message).

    Raises InvalidRequest. Source: the container name rule of Docker's API, `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
    """
    if not text:
        raise InvalidRequest(f"{kind} name is empty", hint=f"give the {kind} a name of letters, digits, _ . -")
    if len(text) > NAME_LENGTH_MAX:
        raise InvalidRequest(
            f"{kind} name {shown(text)} has {len(text)} characters, at most {NAME_LENGTH_MAX} are allowed"
        )
    if not _NAME.match(text):
        raise InvalidRequest(
            f"invalid {kind} name {text!r}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
            hint=f"choose a {kind} name of letters, digits, _ . -",
        )
    if kind == "network" and _ID.match(text):
        raise InvalidRequest(f"invalid network name {text!r}: it looks like an id")
    return text


def parse_ifname(text: str) -> str:
    """Return `text` when the kernel takes it as an interface name and it needs no quoting anywhere.

    Raises InvalidRequest. Source: dev_valid_name() in net/core/dev.c, narrowed to plain characters.
    """
    if len(text) > IFNAME_LENGTH_MAX:
        raise InvalidRequest(
            f"invalid interface name {shown(text)}: {len(text)} characters, at most {IFNAME_LENGTH_MAX} are allowed"
        )
    if not _IFNAME.match(text) or text in {".", "..", "all", "default", "lo"}:
        raise InvalidRequest(f"invalid interface name {text!r}: only [a-zA-Z0-9_.-] are allowed, and not 'lo' or 'all'")
    return text


def shown(text: str) -> str:
    """A caller's text in quotes as an error message shows it: what is longer than a line is cut."""
    return repr(text) if len(text) <= SHOWN_LENGTH_MAX else f"{text[:SHOWN_LENGTH_MAX]!r}..."


def short_id(object_id: str) -> str:
    """The first 12 digits, as people see it."""
    return object_id[:SHORT_ID_LENGTH]

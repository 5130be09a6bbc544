"""Signals by name or number. Law: pure. Source: signal(7)."""

import re
import signal

from atoll.errors import InvalidRequest
from atoll.model.names import shown

_REALTIME = re.compile(r"SIGRT(?:MIN(?:\+([0-9]{1,2}))?|MAX(?:-([0-9]{1,2}))?)\Z")


def signal_number(name: str) -> int:
    """The number of a signal by its parsed name."""
    realtime = _REALTIME.match(name)
    if realtime is None:
        return int(signal.Signals[name])
    above, below = realtime.groups()
    return int(signal.SIGRTMAX) - int(below or 0) if "MAX" in name else int(signal.SIGRTMIN) + int(above or 0)


def parse_signal(text: str) -> str:
    """The name of a signal, given with or without SIG, in any case, or by number. Raises InvalidRequest."""
    name = text.strip().upper()
    try:
        if name.isascii() and name.isdecimal():
            return signal.Signals(int(name)).name
        name = name if name.startswith("SIG") else f"SIG{name}"
        if _REALTIME.match(name):
            return name
        return signal.Signals[name].name
    except (KeyError, ValueError):
        raise InvalidRequest(f"invalid signal: {shown(text)}", hint="kill -l") from None

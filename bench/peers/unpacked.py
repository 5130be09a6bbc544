"""Where the unpacked packages are."""

import os
from pathlib import Path

from atoll.errors import Unsupported

VARIABLE = "ATOLL_PEERS"
DEFAULT = Path("/var/cache/atoll/peers")


def unpacked(name: str) -> Path:
    """The root of the packages unpacked as `name`. Raises Unsupported when they aren't."""
    root = _directory() / name
    if not (root / "versions").exists():
        raise Unsupported(f"{name} is not unpacked at {root}", hint="make bench-deps")
    return root


def versions() -> dict[str, str]:
    """Version by package of all that is unpacked."""
    lines = [line for file in sorted(_directory().glob("*/versions")) for line in file.read_text().splitlines()]
    return dict(sorted(line.split(" ", 1) for line in lines))


def _directory() -> Path:
    return Path(os.environ.get(VARIABLE) or DEFAULT)

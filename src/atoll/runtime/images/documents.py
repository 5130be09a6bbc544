"""Read what says which images an archive has: a program of its own, `python -m atoll.runtime.images.documents`.

The archive comes as standard input. Prints one JSON object: the texts of `manifest.json` and `index.json` as far as
they are there; or `error`. A program of its own, as an archive may take long to read, and much memory.
"""

import json
import sys
import tarfile
from typing import IO, cast

from atoll.runtime.images.unpack import UNREADABLE, HashedInput, bound_memory, opened

NAMES = ("manifest.json", "index.json")
SIZE_MAX_BYTES = 4 << 20
"""Containerd's and skopeo's limit too."""


def documents(stream: IO[bytes]) -> dict[str, str]:
    """The texts by name; nothing is read any more once the first, which decides, is there. Raises ValueError."""
    found: dict[str, str] = {}
    # As a stream: a forged size can't lead back to where the reader has been.
    source = cast(IO[bytes], HashedInput(opened(stream)))
    with tarfile.open(fileobj=source, mode="r|", errors="surrogateescape") as archive:
        while NAMES[0] not in found and (member := archive.next()) is not None:
            name = member.name.removeprefix("./")
            if name in NAMES and member.isreg():
                if member.size > SIZE_MAX_BYTES:
                    raise ValueError(f"{name} has {member.size} bytes, at most {SIZE_MAX_BYTES} are taken")
                file = archive.extractfile(member)
                assert file is not None
                found.setdefault(name, file.read().decode())
            # It would remember every one.
            archive.members.clear()  # type: ignore[attr-defined]
    return found


def main() -> int:
    """Run the program; its exit status."""
    bound_memory()
    try:
        told = documents(sys.stdin.buffer)
    except UNREADABLE as error:
        print(json.dumps({"error": str(error) or type(error).__name__}))
        return 1
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A terminal with a program in it: what is typed, and what comes."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType

from atoll.errors import Unavailable

WAIT_S = 20
_READ_BYTES = 4096


class Terminal:
    """A program in a terminal of its own, until the end of the block. `env` is its whole environment (None: ours)."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._primary, secondary = pty.openpty()
        self.process = subprocess.Popen(
            argv, env=env, stdin=secondary, stdout=secondary, stderr=secondary, start_new_session=True
        )
        os.close(secondary)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self._primary)

    def type(self, text: str) -> None:
        """Type it, control characters too."""
        os.write(self._primary, text.encode())

    def read_until(self, text: str) -> str:
        """What comes until `text` does. Raises Unavailable when it does not in WAIT_S."""
        found, deadline = "", time.monotonic() + WAIT_S
        while text not in found:
            if time.monotonic() > deadline:
                raise Unavailable(f"{text!r} did not come in {WAIT_S} s, but {found!r}")
            if select.select([self._primary], [], [], 0.1)[0]:
                found += self._read()
        return found

    def read_rest(self) -> str:
        """What comes until the program has ended, or nothing does for WAIT_S."""
        found = ""
        while select.select([self._primary], [], [], WAIT_S)[0] and (part := self._read()):
            found += part
        return found

    def wait(self) -> int:
        """The program's exit status. Raises subprocess.TimeoutExpired after WAIT_S."""
        return self.process.wait(WAIT_S)

    def _read(self) -> str:
        try:
            return os.read(self._primary, _READ_BYTES).decode(errors="replace")
        except OSError:
            # Nobody has the other end any more.
            return ""

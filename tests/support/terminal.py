"""A terminal with a program in it: what is typed, and what comes."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType

WAIT_S = 20


class Terminal:
    """A program in a terminal of its own, until the end of the block."""

    def __init__(self, argv: Sequence[str], env: dict[str, str] | None = None) -> None:
        self._primary, secondary = pty.openpty()
        self.process = subprocess.Popen(
            argv, env=env, stdin=secondary, stdout=secondary, stderr=secondary, start_new_session=True
        )
        os.close(secondary)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self._primary)

    def type(self, text: str) -> None:
        """Type it."""
        os.write(self._primary, text.encode())

    def read_until(self, text: str) -> str:
        """What comes until `text` does."""
        found, deadline = "", time.monotonic() + WAIT_S
        while text not in found:
            assert time.monotonic() < deadline, found
            if select.select([self._primary], [], [], 0.1)[0]:
                found += self._read()
        return found

    def read_rest(self) -> str:
        """What comes until the program has ended."""
        found = ""
        while select.select([self._primary], [], [], WAIT_S)[0]:
            part = self._read()
            if not part:
                break
            found += part
        return found

    def wait(self) -> int:
        """The program's exit status."""
        return self.process.wait(WAIT_S)

    def _read(self) -> str:
        try:
            return os.read(self._primary, 4096).decode(errors="replace")
        except OSError:
            # Nobody has the other end any more.
            return ""

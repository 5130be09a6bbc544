"""conmon: the process between a container and everybody else. It outlives the daemon, keeps the container's log,
terminal and streams, and writes down how it ended.

Source: conmon(8) 2.1. In the bundle's directory it makes `attach` (a SOCK_SEQPACKET socket, see streams.py), `ctl` (a
FIFO for "1 HEIGHT WIDTH" and such), `pid` and `conmon.pid`, and at the end `exits/ID`, the status as text.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from atoll.errors import InvalidRequest, Unavailable
from atoll.runtime.programs import found, last_words
from atoll.runtime.supervise.streams import Attachment

START_TIMEOUT_S = 120
_SAID_MAX_BYTES = 1 << 16


class StartFailed(InvalidRequest):
    """The runtime could not make the container or the process; the message is the runtime's.

    `exit_code` is what a shell would tell: 127 no such program, 126 one that can't be run, 128 anything else.
    """

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.exit_code = next((code for word, code in _EXIT_CODES.items() if word in message), 128)


_EXIT_CODES: Mapping[str, int] = {
    "executable file not found": 127,
    "no such file or directory": 127,
    "permission denied": 126,
    "is a directory": 126,
    "exec format error": 126,
}
"""Source: what the docker command looks for in such messages."""


@dataclass(frozen=True, slots=True)
class Conmon:
    """How conmon is started for a container, or with `exec_spec` for a further process in it.

    `directory` is where it works, `log` where the output goes ("" for nowhere). `unit` names this one run.
    """

    container_id: str
    unit: str
    directory: Path
    runtime: str
    runtime_root: Path
    log: str = ""
    log_max_bytes: int = 0
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    exec_spec: Path | None = None

    def command(self, *, attach: bool) -> list[str]:
        """The arguments, without the program; `attach`: a further process waits until its streams are connected."""
        made = [
            *("--api-version", "1", "--cid", self.container_id, "--cuuid", self.unit, "--name", self.unit[:12]),
            *("--runtime", self.runtime, "--runtime-arg", "--root", "--runtime-arg", str(self.runtime_root)),
            *("--bundle", str(self.directory), "--full-attach", "--exit-dir", str(self.directory / "exits")),
            *("--container-pidfile", str(self.directory / "pid")),
            *("--conmon-pidfile", str(self.directory / "conmon.pid")),
            *("--log-path", f"k8s-file:{self.log}" if self.log else "off", "--log-level", "error", "--no-sync-log"),
        ]
        if self.log_max_bytes:
            made += ["--log-size-max", str(self.log_max_bytes)]
        if self.tty:
            made.append("--terminal")
        if self.stdin:
            made.append("--stdin")
            if not self.stdin_once:
                made.append("--leave-stdin-open")
        if self.exec_spec is not None:
            made += ["--exec", "--exec-process-spec", str(self.exec_spec)]
            if attach:
                made.append("--exec-attach")
        return made


async def start(conmon: Conmon, attachment: Attachment | None = None) -> int:
    """Start conmon and with it the runtime: the pid of the process that it has made.

    That of a container has not yet begun. A further process has, once its streams were connected to `attachment`,
    which is for those alone. Raises StartFailed with the runtime's message, Unsupported, Unavailable. Effects: conmon
    detaches itself, so nobody has to wait for it.
    """
    (conmon.directory / "exits").mkdir(mode=0o700, exist_ok=True)
    with contextlib.ExitStack() as stack:
        told, tell = _pipe(stack)
        ready, say_ready = _pipe(stack)
        begin, end = _pipe(stack)
        pipes = {"_OCI_SYNCPIPE": tell, "_OCI_STARTPIPE": begin}
        if attachment is not None:
            pipes["_OCI_ATTACHPIPE"] = say_ready
        process = await asyncio.create_subprocess_exec(
            found("conmon"),
            *conmon.command(attach=attachment is not None),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=tuple(pipe.fileno() for pipe in pipes.values()),
            env=_environment({name: str(pipe.fileno()) for name, pipe in pipes.items()}),
            cwd=conmon.directory,
        )
        for pipe in (tell, say_ready, begin):
            pipe.close()
        # It waits for this byte before it goes on, so that a starter may move it into a cgroup first.
        end.write(b"\0")
        if attachment is not None and await _line(ready):
            attachment.connect(conmon.directory)
            end.write(b"\0")
        line = await _line(told)
        assert process.stderr is not None
        said = b"" if line else await process.stderr.read(_SAID_MAX_BYTES)
        await process.wait()
    return _pid(line, said)


def _pipe(stack: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """Reading and writing end."""
    reading, writing = os.pipe()
    return (
        stack.enter_context(os.fdopen(reading, "rb", buffering=0)),
        stack.enter_context(os.fdopen(writing, "wb", buffering=0)),
    )


def _environment(added: Mapping[str, str]) -> dict[str, str]:
    """The daemon's own is not the container's business, nor conmon's."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_RUNTIME_DIR") if name in os.environ}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **kept, **added}


async def _line(pipe: IO[bytes]) -> bytes:
    """The first line that comes, or less when no more will. Effects: the pipe is closed."""
    reader = asyncio.StreamReader(limit=_SAID_MAX_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            return await reader.readline()
    except TimeoutError:
        raise Unavailable(f"the runtime did not answer within {START_TIMEOUT_S} s", hint="try again") from None
    finally:
        transport.close()


def _pid(line: bytes, said: bytes) -> int:
    with contextlib.suppress(ValueError, AttributeError):
        told = json.loads(line)
        pid = told.get("data", -1)
        if isinstance(pid, int) and pid > 0:
            return pid
        message = str(told.get("message", ""))
        raise StartFailed(last_words(message) or f"the runtime ended with status {-pid}", detail=message)
    text = said.decode(errors="replace")
    raise StartFailed(last_words(text) or "conmon ended without a word", detail=text)

"""Programs of others: run by a list of arguments, never by a shell."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.errors import AtollError, Unavailable, Unsupported

PACKAGES: Mapping[str, str] = {
    "runc": "runc",
    "crun": "crun",
    "conmon": "conmon",
    "skopeo": "skopeo",
}
"""Debian's package of each program."""

TOLD_MAX_BYTES = 2000
"""How much of a program's complaint an error carries."""


class ProgramFailed(AtollError):
    """A program ended with another status than 0; `said` and `output` are what it wrote."""

    def __init__(self, program: str, status: int, said: str, output: bytes = b"") -> None:
        super().__init__(f"{program} failed: {last_words(said) or f'status {status}'}", detail=said[-TOLD_MAX_BYTES:])
        self.status = status
        self.said = said
        self.output = output


@dataclass(frozen=True, slots=True)
class Done:
    """What a program that ended with status 0 wrote."""

    output: bytes
    said: str


def last_words(said: str) -> str:
    """The last line of a program's complaint, without the decoration of Go's usual logs; "" when it said nothing."""
    lines = [line for line in said.strip().splitlines() if line]
    if not lines:
        return ""
    last = lines[-1]
    with contextlib.suppress(ValueError, AttributeError):
        last = str(json.loads(last).get("msg", last))
    if 'msg="' in last:
        last = last.partition('msg="')[2].removesuffix('"').replace('\\"', '"')
    return last


def found(program: str) -> str:
    """The path of a program, which may be one already. Raises Unsupported naming the package."""
    # Daemons are often started without sbin.
    path = shutil.which(program) or shutil.which(program, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
    if path is None:
        package = PACKAGES.get(program, program)
        raise Unsupported(f"{program} is not installed", hint=f"apt-get install {package}", subject=program)
    return path


async def run(
    *command: str,
    timeout_s: float = 60,
    stdin: int = asyncio.subprocess.DEVNULL,
    stdout: int = asyncio.subprocess.PIPE,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Done:
    """Run a program to its end; its output is told unless it goes elsewhere by `stdout`.

    One that is still running when the time is over, or when the caller is cancelled, is killed. Raises ProgramFailed,
    Unsupported, Unavailable.
    """
    process = await asyncio.create_subprocess_exec(
        found(command[0]),
        *command[1:],
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        pass_fds=pass_fds,
    )
    async with _ended(process):
        try:
            output, said = await asyncio.wait_for(process.communicate(), timeout_s)
        except TimeoutError:
            raise Unavailable(f"{command[0]} did not end within {timeout_s:g} s", hint="try again") from None
    text = said.decode(errors="replace")
    assert process.returncode is not None
    if process.returncode != 0:
        raise ProgramFailed(Path(command[0]).name, process.returncode, text, output or b"")
    return Done(output or b"", text)


async def follow(*command: str, tell: Callable[[str], None], timeout_s: float = 3600) -> None:
    """Run a program and tell each line that it writes to standard output. Raises as `run` does."""
    process = await asyncio.create_subprocess_exec(
        found(command[0]),
        *command[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    async with _ended(process):
        try:
            async with asyncio.timeout(timeout_s):
                complaint = asyncio.create_task(process.stderr.read())
                async for line in process.stdout:
                    tell(line.decode(errors="replace").rstrip("\n"))
                text = (await complaint).decode(errors="replace")
                status = await process.wait()
        except TimeoutError:
            raise Unavailable(f"{command[0]} did not end within {timeout_s:g} s", hint="try again") from None
    if status != 0:
        raise ProgramFailed(Path(command[0]).name, status, text)


@contextlib.asynccontextmanager
async def _ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Kill the process if it is still there at the end of the block."""
    try:
        yield
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

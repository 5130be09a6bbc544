"""The OCI runtime's commands on containers that are there. Source: runc(8); others have the same command line."""

import json
from pathlib import Path
from typing import Any

from atoll.errors import NotFound, WrongState
from atoll.runtime.programs import ProgramFailed, run


class Runc:
    """A runtime by the name of its program; what it remembers is in a directory of that name below `runtimes`."""

    def __init__(self, program: str, runtimes: Path) -> None:
        self.program = program
        self.root = runtimes / program

    async def start(self, container_id: str) -> None:
        """Let a made container begin. Raises ProgramFailed."""
        await self._run("start", container_id)

    async def kill(self, container_id: str, signal: str, *, every: bool = False) -> None:
        """Send a signal to the first process, or to every one. Raises WrongState when the container does not run."""
        try:
            await self._run("kill", *(["--all"] if every else []), container_id, signal)
        except ProgramFailed as error:
            if "not running" in error.said or "does not exist" in error.said or "already finished" in error.said:
                raise WrongState(f"container {container_id[:12]} is not running", subject=container_id) from error
            raise

    async def pause(self, container_id: str) -> None:
        """Freeze all processes. Raises ProgramFailed."""
        await self._run("pause", container_id)

    async def resume(self, container_id: str) -> None:
        """Let them go on; those that go on already, too: a kill lets frozen ones go. Raises ProgramFailed."""
        try:
            await self._run("resume", container_id)
        except ProgramFailed as error:
            if "not paused" not in error.said and "does not exist" not in error.said:
                raise

    async def delete(self, container_id: str) -> None:
        """Kill what is left and remove the runtime's own traces: cgroups and state. What is gone is no error."""
        try:
            await self._run("delete", "--force", container_id)
        except ProgramFailed as error:
            if "does not exist" not in error.said:
                raise

    async def update(self, container_id: str, resources: Path) -> None:
        """Change limits to those of a file (`linux.resources`). Raises ProgramFailed."""
        await self._run("update", "--resources", str(resources), container_id)

    async def processes(self, container_id: str) -> list[int]:
        """Pids of the host in a container. Raises ProgramFailed."""
        found: list[int] = json.loads((await self._run("ps", "--format", "json", container_id)) or b"[]")
        return found

    async def stats(self, container_id: str) -> dict[str, Any]:
        """What a container uses now: `cpu`, `memory`, `pids`, `blkio` of runc's events. Raises ProgramFailed."""
        told = json.loads(await self._run("events", "--stats", container_id))
        found: dict[str, Any] = told["data"]
        return found

    async def state(self, container_id: str) -> dict[str, Any]:
        """What the runtime says of a container. Raises NotFound."""
        try:
            found: dict[str, Any] = json.loads(await self._run("state", container_id))
        except ProgramFailed as error:
            if "does not exist" in error.said:
                raise NotFound(f"{self.program} knows no container {container_id[:12]}") from error
            raise
        return found

    def known(self) -> list[str]:
        """Ids of all containers that the runtime has traces of."""
        return sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else []

    async def _run(self, *command: str) -> bytes:
        return (await run(self.program, "--root", str(self.root), *command)).output

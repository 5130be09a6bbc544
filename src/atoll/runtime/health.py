"""Health checks: a process in the container, again and again. Source: Docker's defaults and rules."""

import asyncio
import contextlib
from dataclasses import replace

from atoll.errors import AtollError
from atoll.model.container import Container, Health, Status
from atoll.model.image import HealthCheck, HealthKind
from atoll.runtime.execs import ExecRequest, Execs
from atoll.runtime.registry import Entry, HealthResult
from atoll.runtime.runs import Runs
from atoll.runtime.supervise.streams import Attachment

INTERVAL_S = 30.0
TIMEOUT_S = 30.0
START_INTERVAL_S = 5.0
RETRIES = 3
RESULTS_MAX = 5
OUTPUT_MAX_BYTES = 4096
TIMED_OUT = -1
DEFAULT_SHELL = ("/bin/sh", "-c")


class HealthChecks:
    """Checks the health of containers that run and want it."""

    def __init__(self, runs: Runs, execs: Execs) -> None:
        self._runs = runs
        self._execs = execs

    def begin(self, entry: Entry) -> None:
        """Check a container that has begun to run, as long as it does; nothing when it has no check."""
        check = self._runs.preparer.effective(entry.container).health
        if check is not None:
            entry.health.clear()
            entry.tasks["health"] = asyncio.create_task(
                self._check_regularly(entry, check), name=f"health of {entry.container.name}"
            )

    async def _check_regularly(self, entry: Entry, check: HealthCheck) -> None:
        failures = 0
        started_ns = entry.container.started_ns
        while True:
            await asyncio.sleep(_pause_s(entry.container, check, self._since_s(started_ns)))
            if entry.container.status is not Status.RUNNING:
                if entry.container.status is Status.PAUSED:
                    continue
                return
            result = await self._check(entry, check)
            entry.health[:] = [*entry.health, result][-RESULTS_MAX:]
            if result.exit_code == 0:
                failures = 0
                await self._set(entry, started_ns, Health.HEALTHY)
            elif entry.container.health is not Health.STARTING or (
                self._since_s(started_ns) >= check.start_period_ns / 1e9
            ):
                failures += 1
                if failures >= (check.retries or RETRIES):
                    await self._set(entry, started_ns, Health.UNHEALTHY)

    async def _check(self, entry: Entry, check: HealthCheck) -> HealthResult:
        started_ns = self._runs.clock.now_ns()
        try:
            async with asyncio.timeout((check.timeout_ns / 1e9) or TIMEOUT_S):
                code, output = await self._run(entry.container, self._argv(entry.container, check))
        except TimeoutError:
            code, output = TIMED_OUT, "health check exceeded its timeout"
        except AtollError as error:
            code, output = TIMED_OUT, error.message
        return HealthResult(started_ns, self._runs.clock.now_ns(), code, output)

    async def _run(self, container: Container, argv: tuple[str, ...]) -> tuple[int, str]:
        made = self._execs.create(container.id, ExecRequest(argv))
        attachment = await self._execs.start(made.id, attach=True)
        assert attachment is not None
        try:
            output = await _output(attachment)
            return await self._execs.wait(made.id), output
        except asyncio.CancelledError:
            # Out of time, or of the container's.
            self._execs.kill(made.id)
            raise
        finally:
            attachment.close()

    def _argv(self, container: Container, check: HealthCheck) -> tuple[str, ...]:
        if check.kind is HealthKind.CMD:
            return check.command
        shell = self._runs.preparer.images.find(container.image_id).config.shell
        return (*(shell or DEFAULT_SHELL), *check.command)

    async def _set(self, entry: Entry, started_ns: int, health: Health) -> None:
        async with entry.lock:
            container = entry.container
            if container.started_ns != started_ns or not container.status.has_process or container.health is health:
                return
            await self._runs.registry.put(replace(container, health=health))
        self._runs.tell(f"health_status: {health}", entry.container)

    def _since_s(self, started_ns: int) -> float:
        return (self._runs.clock.now_ns() - started_ns) / 1e9


def _pause_s(container: Container, check: HealthCheck, since_s: float) -> float:
    interval_s = (check.interval_ns / 1e9) or INTERVAL_S
    if container.health is Health.STARTING and since_s < check.start_period_ns / 1e9:
        return min(interval_s, (check.start_interval_ns / 1e9) or START_INTERVAL_S)
    return interval_s


async def _output(attachment: Attachment) -> str:
    kept = b""
    with contextlib.closing(attachment):
        while (part := await attachment.read()) is not None:
            kept = (kept + part[1])[:OUTPUT_MAX_BYTES]
    return kept.decode(errors="replace")

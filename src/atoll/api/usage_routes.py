"""Docker's routes on what containers do and use: top, stats."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.clock import rfc3339
from atoll.api.container_views import NEVER
from atoll.api.http import Route, reference_of, respond
from atoll.api.query import parse_flag
from atoll.errors import AtollError
from atoll.model.container import Container
from atoll.runtime.programs import ProgramFailed
from atoll.runtime.usage import Traffic, host_cpu_ns, ps, traffic

_BLKIO = {
    "io_service_bytes_recursive": "ioServiceBytesRecursive",
    "io_serviced_recursive": "ioServicedRecursive",
    "io_queue_recursive": "ioQueueRecursive",
    "io_service_time_recursive": "ioServiceTimeRecursive",
    "io_wait_time_recursive": "ioWaitTimeRecursive",
    "io_merged_recursive": "ioMergedRecursive",
    "io_time_recursive": "ioTimeRecursive",
    "sectors_recursive": "sectorsRecursive",
}
"""Docker's names of what `runc events` tells, and runc's."""

INTERVAL_S = 1.0
"""Between two figures of a stream. Source: Docker."""


class UsageRoutes:
    """`/containers/{id}/top` and `stats`. Source: Docker Engine API, tag Container."""

    def __init__(self, backend: Backend) -> None:
        self._containers = backend.runtime.containers
        self._now_ns = backend.now_ns
        self._about = backend.about

    def routes(self) -> list[Route]:
        """Every route here."""
        one = "/containers/{reference:[^/]+}"
        return [("GET", f"{one}/top", self.top), ("GET", f"{one}/stats", self.stats)]

    async def top(self, request: web.Request) -> web.Response:
        """The processes of a container, as the host's ps shows them."""
        pids = await self._containers.processes(reference_of(request))
        titles, rows = await ps(pids, request.query.get("ps_args", ""))
        return respond({"Titles": titles, "Processes": rows})

    async def stats(self, request: web.Request) -> web.StreamResponse:
        """What a container uses, every second, or once; of one that doesn't run, nothing."""
        container = self._containers.find(reference_of(request))
        streams = "stream" not in request.query or parse_flag(request.query, "stream")
        before: dict[str, Any] = {}
        if not streams and not parse_flag(request.query, "one-shot"):
            # A share of the processors is one between two figures.
            before = await self._stats(container, {})
            await asyncio.sleep(INTERVAL_S)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            before = await self._stats(container, before)
            await response.write(msgspec.json.encode(before) + b"\n")
            if not streams:
                break
            await asyncio.sleep(INTERVAL_S)
            container = self._containers.find(container.id)
        await response.write_eof()
        return response

    async def _stats(self, container: Container, before: Mapping[str, Any]) -> dict[str, Any]:
        told: Mapping[str, Any] = {}
        if container.status.has_process:
            try:
                told = await self._containers.stats(container.id)
            except (AtollError, ProgramFailed):
                told = {}
        limit = container.host.limits.memory_bytes or self._about.memory_bytes
        return encode_stats(
            container,
            told,
            before,
            traffic=traffic(container.pid) if told else {},
            memory_bytes=limit,
            host_cpu_ns=host_cpu_ns() if told else 0,
            cpus=self._about.cpus,
            now=rfc3339(self._now_ns()) if told else NEVER,
        )


def encode_stats(
    container: Container,
    told: Mapping[str, Any],
    before: Mapping[str, Any],
    *,
    traffic: Mapping[str, Traffic],
    memory_bytes: int,
    host_cpu_ns: int,
    cpus: int,
    now: str,
) -> dict[str, Any]:
    """A figure in Docker's form. `told` is runc's, `before` the figure before this one."""
    cpu = _cpu(told.get("cpu") or {}) | {"system_cpu_usage": host_cpu_ns, "online_cpus": cpus}
    none = {"cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}}
    body: dict[str, Any] = {
        "name": f"/{container.name}",
        "id": container.id,
        "read": now,
        "preread": before.get("read", NEVER),
        "pids_stats": _present(told.get("pids") or {}, ("current", "limit")),
        "blkio_stats": _blkio(told.get("blkio") or {}, running=bool(told)),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu if told else none,
        "precpu_stats": before.get("cpu_stats", none),
        "memory_stats": _memory(told.get("memory") or {}, memory_bytes) if told else {},
    }
    if traffic:
        body["networks"] = {name: asdict(counts) for name, counts in traffic.items()}
    return body


def _cpu(told: Mapping[str, Any]) -> dict[str, Any]:
    usage, throttling = told.get("usage") or {}, told.get("throttling") or {}
    # Only the first version of cgroups counts each processor.
    each = {"percpu_usage": usage["percpu"]} if usage.get("percpu") else {}
    return {
        "cpu_usage": {
            "total_usage": usage.get("total", 0),
            **each,
            "usage_in_kernelmode": usage.get("kernel", 0),
            "usage_in_usermode": usage.get("user", 0),
        },
        "throttling_data": {
            "periods": throttling.get("periods", 0),
            "throttled_periods": throttling.get("throttledPeriods", 0),
            "throttled_time": throttling.get("throttledTime", 0),
        },
    }


def _memory(told: Mapping[str, Any], limit_bytes: int) -> dict[str, Any]:
    usage = told.get("usage") or {}
    highest = {"max_usage": usage["max"]} if usage.get("max") else {}
    return {"usage": usage.get("usage", 0), **highest, "stats": told.get("raw") or {}, "limit": limit_bytes}


def _present(told: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: told[name] for name in names if told.get(name)}


def _blkio(told: Mapping[str, Any], *, running: bool) -> dict[str, list[dict[str, Any]] | None]:
    """Lists by kind; of a container that doesn't run, null."""
    found: dict[str, list[dict[str, Any]] | None] = {}
    for name, key in _BLKIO.items():
        entries = [{**entry, "op": str(entry.get("op", "")).lower()} for entry in told.get(key) or ()]
        found[name] = entries if running else None
    return found

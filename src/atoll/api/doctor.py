"""`/atoll/doctor`: what is wrong with the host. Shapes: docs/api.md; what each finding means: docs/doctor.md."""

import asyncio
from typing import Any

from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.http import Route, respond
from atoll.doctor.finding import Finding


class DoctorRoutes:
    """The diagnosis."""

    def __init__(self, backend: Backend) -> None:
        self._engine = backend.engine
        self._queue = backend.queue

    def routes(self) -> list[Route]:
        """Every route here."""
        return [("GET", "/atoll/doctor", self.diagnose)]

    async def diagnose(self, request: web.Request) -> web.Response:
        """All findings, the worst first. Other requests don't wait for it."""
        look = await self._queue.run(self._engine.diagnosis)
        return respond({"Findings": [encode_finding(finding) for finding in await asyncio.to_thread(look)]})


def encode_finding(finding: Finding) -> dict[str, Any]:
    """A finding as JSON."""
    return {
        "Severity": finding.severity.value,
        "Kind": finding.kind.value,
        "Subject": finding.subject,
        "Found": finding.found,
        "Breaks": finding.breaks,
        "Remedy": list(finding.remedy),
    }

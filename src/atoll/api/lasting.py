"""Answers that last as long as something does, and end at once with the daemon."""

import asyncio
from collections.abc import Iterable

from aiohttp import web

from atoll.api.http import Handler, Route


class Lasting:
    """Knows which of its routes are being answered. Used by the event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    def routes(self, routes: Iterable[Route]) -> list[Route]:
        """The same routes, whose answers `end` ends."""
        return [(method, path, self._known(handler)) for method, path, handler in routes]

    async def end(self, app: web.Application) -> None:
        """End what is being answered: a signal of the application's shutdown."""
        for task in self._tasks:
            task.cancel()

    def _known(self, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                return await handler(request)
            finally:
                self._tasks.discard(task)

        return answer

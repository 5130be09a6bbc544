"""Bodies that are files: kept on disk while a request needs them, whatever their size."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from aiohttp import web

CHUNK_BYTES = 1 << 18


@asynccontextmanager
async def spooled(request: web.Request, directory: Path) -> AsyncIterator[Path]:
    """The body in a file of `directory`, gone at the end of the block. Raises OSError."""
    with NamedTemporaryFile(dir=directory, prefix="body-") as file:
        async for chunk in request.content.iter_chunked(CHUNK_BYTES):
            file.write(chunk)
        file.flush()
        yield Path(file.name)

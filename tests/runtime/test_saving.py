"""Images that are saved and loaded again have the same files, and are the same from then on."""

import asyncio
import itertools
import tarfile
from pathlib import Path

from atoll.model.container import ContainerConfig, ContainerRequest
from atoll.model.image import Image
from atoll.model.reference import parse_reference
from atoll.runtime.images.load import load
from atoll.runtime.images.save import choose, save
from atoll.runtime.images.store import ImageStore
from atoll.runtime.runtime import Runtime
from tests.support.images import make_layout
from tests.support.runtimes import Bench, run


def opened(directory: Path) -> ImageStore:
    numbers = itertools.count()
    images = ImageStore(directory / "images", new_name=lambda: str(next(numbers)))
    images.load()
    return images


async def saved(images: ImageStore, target: Path, *names: str) -> Path:
    with target.open("wb") as file:
        async for chunk in save(images, [choose(images, name) for name in names]):
            file.write(chunk)
    return target


async def loaded(images: ImageStore, archive: Path) -> list[Image]:
    return await load(images, archive, tell=lambda digest, status: None)


async def run_image(runtime: Runtime, image: Image) -> str:
    code, out, err = await run(runtime, ContainerRequest(ContainerConfig(image.id)))
    assert code == 0, err
    return out


def test_saved_images_run_as_they_did(place: Bench, tmp_path: Path) -> None:
    async def play() -> None:
        source = opened(tmp_path / "source")
        (made,) = await loaded(source, make_layout(tmp_path, "one"))
        source.name(made.id, parse_reference("mine:1"))
        archive = await saved(source, tmp_path / "saved.tar", "mine:1")
        async with place.runtime() as runtime:
            (first,) = await loaded(runtime.images, archive)
            # A file that a layer takes away, /etc/gone, is away here too.
            assert await run_image(runtime, first) == "one\nhostname\nhosts\nresolv.conf\ntag\n"
            assert first.tags == ("mine:1",) and len(first.layers) == len(made.layers)
            again = await saved(runtime.images, tmp_path / "again.tar", "mine:1")
            assert again.read_bytes() == archive.read_bytes()

    asyncio.run(play())


def test_names_say_what_is_saved(tmp_path: Path) -> None:
    async def play() -> None:
        images = opened(tmp_path)
        (made,) = await loaded(images, make_layout(tmp_path, "one"))
        for name in ("mine:1", "mine:2", "other:1"):
            images.name(made.id, parse_reference(name))
        assert choose(images, "mine:2").tags == ("mine:2",)
        assert choose(images, "mine:2").image.id == made.id
        assert choose(images, made.id[:12]).tags == ()
        images.name(made.id, parse_reference("mine:latest"))
        assert choose(images, "mine").tags == ("mine:1", "mine:2", "mine:latest")
        archive = await saved(images, tmp_path / "saved.tar", "mine:1", "other:1")
        with tarfile.open(archive) as tar:
            assert len([name for name in tar.getnames() if name.endswith(".tar")]) == len(set(made.layers))

    asyncio.run(play())

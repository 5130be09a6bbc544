"""A container with what surrounds it, out of the runtime, for its JSON."""

import asyncio
from dataclasses import replace

from atoll.api.container_views import Seen, Sizes
from atoll.errors import AtollError, NotFound
from atoll.model.container import Container, MountKind
from atoll.model.image import ImageConfig
from atoll.runtime.bundle.effective import Effective, effective
from atoll.runtime.runtime import Runtime
from atoll.runtime.usage import disk_bytes


def see(runtime: Runtime, container: Container) -> Seen:
    """What is shown of a container; also of one whose image was removed by force."""
    image = _image(runtime, container)
    entry = runtime.containers.entry(container.id)
    return Seen(
        container,
        image,
        _merged(image, container),
        health=tuple(entry.health),
        execs=runtime.execs.of(container.id),
        volumes={
            mount.source: str(runtime.places.volumes / mount.source / "_data")
            for mount in container.mounts
            if mount.kind is MountKind.VOLUME
        },
    )


async def with_sizes(runtime: Runtime, seen: Seen) -> Seen:
    """The same with the sizes of its files, which are counted one by one."""
    own = await asyncio.to_thread(disk_bytes, runtime.places.kept(seen.container.id) / "upper")
    try:
        image = runtime.images.find(f"sha256:{seen.container.image_id}").size_bytes
    except NotFound:
        image = 0
    return replace(seen, sizes=Sizes(own, image))


def _image(runtime: Runtime, container: Container) -> ImageConfig:
    try:
        return runtime.images.find(f"sha256:{container.image_id}").config
    except NotFound:
        return ImageConfig()


def _merged(image: ImageConfig, container: Container) -> Effective:
    try:
        return effective(image, container.config)
    except AtollError:
        config = container.config
        return Effective((), (), config.cmd, config.env, config.user, config.workdir, config.volumes, "SIGTERM", None)

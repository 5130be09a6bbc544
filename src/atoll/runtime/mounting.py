"""The mounts of a new container: volumes get their names, and begin with what the image has at their place."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from atoll.errors import InvalidRequest
from atoll.model.container import Mount, MountKind
from atoll.model.image import Image
from atoll.runtime.images.pack import Form
from atoll.runtime.images.store import ImageStore
from atoll.runtime.places import Places
from atoll.runtime.programs import run
from atoll.runtime.supervise.mounts import mount_root, unmount_below
from atoll.runtime.trees import remove_tree
from atoll.runtime.volumes import Volume, Volumes

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
COPY_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Mounting:
    """Settles mounts. `new_name` names what nobody else does, in 64 digits."""

    places: Places
    images: ImageStore
    volumes: Volumes
    new_name: Callable[[], str]

    async def settle(
        self, container_id: str, asked: Iterable[Mount], volumes: Iterable[str], image: Image
    ) -> tuple[Mount, ...]:
        """All mounts of a container: those asked for, and one for each of `volumes` that has none.

        Raises InvalidRequest; effects: missing volumes are made, and tied to the container.
        """
        found = {}
        for mount in asked:
            target = _target(mount.target)
            if target in found:
                raise InvalidRequest(f"duplicate mount point: {target}")
            found[target] = replace(mount, target=target)
        for target in volumes:
            found.setdefault(_target(target), Mount(MountKind.VOLUME, _target(target)))
        return tuple([await self._settled(container_id, mount, image) for mount in found.values()])

    async def _settled(self, container_id: str, mount: Mount, image: Image) -> Mount:
        if mount.propagation not in PROPAGATIONS:
            raise InvalidRequest(f"invalid propagation {mount.propagation!r}: it is one of {', '.join(PROPAGATIONS)}")
        if mount.kind is MountKind.BIND and not Path(mount.source).is_absolute():
            raise InvalidRequest(f"invalid mount path {mount.source!r}: it has to be absolute")
        if mount.kind is MountKind.BIND and not mount.make_source and not Path(mount.source).exists():
            raise InvalidRequest(
                f"bind source path does not exist: {mount.source}",
                hint=f"mkdir -p {mount.source}",
                subject=mount.source,
            )
        if mount.kind is not MountKind.VOLUME:
            return mount
        if not mount.source:
            mount = replace(mount, source=self.new_name(), anonymous=True)
        fresh = not self.volumes.has(mount.source)
        volume = self.volumes.create(mount.source, labels=mount.labels, anonymous=mount.anonymous, tied_to=container_id)
        if mount.copy and (fresh or not any(volume.path.iterdir())):
            await self._fill(volume, mount.target, image)
        return mount

    async def _fill(self, volume: Volume, target: str, image: Image) -> None:
        """Copy what the image has at `target`. Both ends are confined by programs that change their root."""
        kept = self.places.containers / f"tmp-{self.new_name()}"
        try:
            names = [self.images.layers.name(layer) for layer in image.layers]
            await mount_root(self.images.layers.directory, names, kept, kept / "root")
            module = "atoll.runtime.images"
            with (kept / "archive").open("w+b") as archive:
                pack = (sys.executable, "-I", "-m", f"{module}.pack", str(kept / "root"), target, Form.CONTENTS)
                await run(*pack, stdout=archive.fileno(), timeout_s=COPY_TIMEOUT_S)
                archive.seek(0)
                unpack = (sys.executable, "-I", "-m", f"{module}.unpack", str(volume.path))
                await run(*unpack, stdin=archive.fileno(), timeout_s=COPY_TIMEOUT_S)
        finally:
            await unmount_below(kept)
            await asyncio.to_thread(remove_tree, kept)


def _target(text: str) -> str:
    if not text.startswith("/") or "\0" in text:
        raise InvalidRequest(f"invalid mount path {text!r}: it has to be absolute")
    target = os.path.normpath("/" + text.lstrip("/"))
    if target == "/":
        raise InvalidRequest("invalid mount path '/': the root is the image's")
    return target

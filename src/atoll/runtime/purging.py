"""Taking away everything that a runtime ever made."""

import asyncio
import logging

from atoll.errors import AtollError
from atoll.runtime import cgroups
from atoll.runtime.containers import Containers
from atoll.runtime.images.store import ImageStore
from atoll.runtime.places import Places
from atoll.runtime.trees import discard_tree

_log = logging.getLogger(__name__)


async def purge(containers: Containers, images: ImageStore, places: Places) -> tuple[int, int]:
    """Remove all containers, images and volumes with their directories: how many containers and images.

    Goes on past what fails, which is in the log. Nothing may be made meanwhile.
    """
    records, kept = containers.all(), images.images()
    for container in records:
        try:
            await containers.remove(container.id, force=True, volumes=True)
        except (AtollError, OSError):
            _log.exception("container %s is not all gone", container.name)
    for image in kept:
        await images.remove(f"sha256:{image.id}", users={}, force=True)
    left = {container.name for container in containers.all()}
    if not left:
        for directory in (places.images, places.volumes, places.containers, places.bundles, places.runtimes):
            await asyncio.to_thread(discard_tree, directory)
    for parent in {cgroups.DEFAULT_PARENT, *map(cgroups.parent_of, records)}:
        cgroups.remove_empty(parent)
    return len(records) - len(left), len(kept)

"""The runtime of one daemon: its parts, made and joined.

Belongs to the event loop. It meets the engine's thread in the two protocols of `parts.py` alone, whose methods are
coroutines: so that thread never waits for a program of the runtime's.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from atoll.runtime.archives import Archives
from atoll.runtime.containers import Containers
from atoll.runtime.execs import Execs
from atoll.runtime.facts import find_init, read_abilities
from atoll.runtime.health import HealthChecks
from atoll.runtime.images.store import ImageStore
from atoll.runtime.launching import Launcher
from atoll.runtime.mounting import Mounting
from atoll.runtime.parts import ContainerEvent, ContainerNetwork, ContainerRecords
from atoll.runtime.places import Places
from atoll.runtime.preparing import Preparer
from atoll.runtime.purging import purge
from atoll.runtime.recovery import recover
from atoll.runtime.registry import Entry, Registry
from atoll.runtime.runs import Clock, Runs
from atoll.runtime.supervise.logs import LogLine, LogQuery, follow_log, read_log
from atoll.runtime.volumes import Volumes


class Runtime:
    """Images, volumes, containers and processes below a state and a run directory.

    `images`, `volumes`, `containers`, `execs` and `archives` have the verbs. `new_id` gives 64 random digits; `emit`
    gets an event for everything that happens, in order.
    """

    def __init__(
        self,
        *,
        state: Path,
        run: Path,
        records: ContainerRecords,
        network: ContainerNetwork,
        now_ns: Callable[[], int],
        new_id: Callable[[], str],
        emit: Callable[[ContainerEvent], None],
    ) -> None:
        self.places = Places(state, run)
        self.images = ImageStore(self.places.images, new_name=new_id)
        self.volumes = Volumes(self.places.volumes)
        self._now_ns = now_ns
        self._registry = Registry(records)
        abilities = read_abilities()
        preparer = Preparer(self.places, self.images, self.volumes, self._registry, abilities, find_init())
        self._runs = Runs(
            places=self.places,
            preparer=preparer,
            launcher=Launcher(self.places),
            registry=self._registry,
            network=network,
            clock=Clock(now_ns, new_id),
            emit=emit,
        )
        self.execs = Execs(self._runs)
        self.archives = Archives(self._runs)
        self._health = HealthChecks(self._runs, self.execs)
        self._runs.begun = self._health.begin
        self.containers = Containers(self._runs, Mounting(self.places, self.images, self.volumes, new_id))

    async def start(self) -> None:
        """Read what is stored, find again what runs, and take away what nobody needs. Raises StoreCorrupt, OSError."""
        self.images.load()
        self._registry.load()
        await recover(self._runs)
        self.containers.finish_stops()

    async def close(self) -> None:
        """Finish what is under way. Containers and processes run on."""
        await self.containers.close()
        await self.execs.close()

    async def purge(self) -> tuple[int, int]:
        """Remove every container, image and volume; how many containers and images.

        Nothing is made from then on, unless it is `reopen`ed.
        """
        self.containers.purging = True
        return await purge(self.containers, self.images, self.places)

    def reopen(self) -> None:
        """Go on after a purge that was broken off. Raises StoreCorrupt, OSError."""
        self.images.load()
        self.containers.purging = False

    def logs(self, reference: str, query: LogQuery, *, follow: bool = False) -> AsyncIterator[LogLine]:
        """What a container has written, and with `follow` what it will until it ends. Raises NotFound."""
        entry = self._registry.find(reference)
        path = self.places.log(entry.container.id)
        if not follow:
            return read_log(path, query)
        return follow_log(path, query, running=lambda: _writes(entry), now_ns=self._now_ns)

    def users_of_image(self) -> dict[str, str]:
        """The name of a container of each image that has one, by the image's id: what `rmi` asks."""
        return {entry.container.image_id: entry.container.name for entry in self._registry}

    def users_of_volume(self, name: str) -> tuple[str, ...]:
        """Ids of the containers that mount a volume: what `volume rm` asks."""
        return tuple(self._runs.users_of(name))


def _writes(entry: Entry) -> bool:
    return entry.container.status.has_process and not entry.removed

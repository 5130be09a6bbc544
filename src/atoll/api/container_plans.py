"""Dry runs of the verbs on containers: what each would do, and nothing done."""

import secrets

from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.container_seen import see
from atoll.api.http import respond_lines
from atoll.errors import NameTaken, WrongState
from atoll.model.container import Container, ContainerRequest, Limits, MountKind, RestartPolicy, Status
from atoll.model.names import ID_LENGTH, parse_name, short_id
from atoll.runtime import describe
from atoll.runtime.containers import STOP_TIMEOUT_S
from atoll.runtime.describe import Lines
from atoll.runtime.signals import parse_signal


class ContainerPlans:
    """One method a verb, each with what the verb is given. They raise what it would raise before it does anything."""

    def __init__(self, backend: Backend) -> None:
        self._engine = backend.engine
        self._queue = backend.queue
        self._runtime = backend.runtime
        self._containers = backend.runtime.containers
        self._now_ns = backend.now_ns

    async def create(self, wanted: ContainerRequest, name: str, *, start: bool) -> web.Response:
        """Of a new container, with `start` of its start too."""
        name = parse_name("container", name) if name else "new"
        self._check_free(name)
        image = self._runtime.images.find(wanted.config.image)
        container = Container(
            id=secrets.token_hex(ID_LENGTH // 2),
            name=name,
            image_id=image.id,
            created_ns=self._now_ns(),
            config=wanted.config,
            host=wanted.host,
            mounts=wanted.host.mounts,
            network=wanted.network,
        )
        sources = [mount.source for mount in container.mounts if mount.kind is MountKind.VOLUME and mount.source]
        fresh = [source for source in dict.fromkeys(sources) if not self._runtime.volumes.has(source)]
        lines = describe.making(container, self._runtime.places, volumes=fresh)
        return respond_lines(lines + (await self._start(container) if start else []))

    async def start(self, reference: str) -> web.Response:
        """Of a start; one that runs needs nothing."""
        container = self._containers.find(reference)
        if container.status is Status.PAUSED:
            raise WrongState("cannot start a paused container, try unpause instead")
        return respond_lines([] if container.status.has_process else await self._start(container))

    async def _start(self, container: Container) -> Lines:
        outcome = await self._queue.run(self._engine.plan_container_sandbox, container)
        layers = self._runtime.images.layers
        paths = [str(layers.directory / layers.name(each)) for each in self._layers(container)]
        return [*outcome.lines, *describe.beginning(container, self._runtime.places, paths)]

    def _layers(self, container: Container) -> tuple[str, ...]:
        return tuple(self._runtime.images.find(container.image_id).layers)

    async def stop(self, reference: str, *, timeout_s: float | None, signal: str) -> web.Response:
        """Of a stop; one that does not run needs nothing."""
        return respond_lines(await self._stop(self._containers.find(reference), timeout_s, signal))

    async def restart(self, reference: str, *, timeout_s: float | None) -> web.Response:
        """Of a stop and a start; what would be taken away and made again is left as it is."""
        container = self._containers.find(reference)
        ending = await self._stop(container, timeout_s, "")
        return respond_lines(ending + (await self._start(container)))

    async def _stop(self, container: Container, timeout_s: float | None, signal: str) -> Lines:
        if not container.status.has_process:
            return []
        if timeout_s is None:
            own_s = container.config.stop_timeout_s
            timeout_s = STOP_TIMEOUT_S if own_s is None else own_s
        name = parse_signal(signal or see(self._runtime, container).merged.stop_signal)
        lines = describe.ending(container, self._runtime.places, signal=name, timeout_s=timeout_s)
        return [*lines, *await self._release(container)]

    async def _release(self, container: Container) -> Lines:
        return list((await self._queue.run(self._engine.plan_container_release, container.id)).lines)

    def kill(self, reference: str, signal: str) -> web.Response:
        """Of a signal."""
        return respond_lines(describe.signalling(self._running(reference), parse_signal(signal)))

    def freeze(self, reference: str, verb: str) -> web.Response:
        """Of `pause`, or of `resume`."""
        return respond_lines(describe.freezing(self._running(reference), verb))

    def rename(self, reference: str, name: str) -> web.Response:
        """Of another name."""
        fresh = parse_name("container", name.removeprefix("/"))
        self._check_free(fresh)
        return respond_lines(describe.renaming(self._containers.find(reference), fresh))

    def update(self, reference: str, *, limits: Limits | None, restart: RestartPolicy | None) -> web.Response:
        """Of other limits, another restart policy."""
        container = self._containers.find(reference)
        policy = "" if restart is None else restart.kind.value
        return respond_lines(describe.updating(container, limits or Limits(), policy))

    async def remove(self, reference: str, *, force: bool, volumes: bool) -> web.Response:
        """Of a removal."""
        container = self._containers.find(reference)
        if container.status.has_process and not force:
            raise WrongState(
                f'cannot remove container "{container.name}": container is {container.status}: '
                "stop the container before removing or force remove",
                hint=f"atoll rm --force {container.name}",
            )
        return respond_lines(await self._removal(container, volumes=volumes))

    async def prune(self, containers: list[Container]) -> web.Response:
        """Of the removal of several that don't run."""
        return respond_lines([line for each in containers for line in await self._removal(each, volumes=False)])

    async def _removal(self, container: Container, *, volumes: bool) -> Lines:
        lines = await self._stop(container, -1, "SIGKILL")
        anonymous = [mount.source for mount in container.mounts if mount.anonymous] if volumes else []
        return [*lines, *describe.removing(container, self._runtime.places, volumes=anonymous)]

    def _running(self, reference: str) -> Container:
        container = self._containers.find(reference)
        if not container.status.has_process:
            raise WrongState(f"container {container.id} is not running", hint=f"atoll start {container.name}")
        return container

    def _check_free(self, name: str) -> None:
        for other in self._containers.all():
            if other.name == name:
                raise NameTaken(
                    f'The container name "/{name}" is already in use by container "{short_id(other.id)}".',
                    hint=f"atoll rm {name}",
                    subject=other.id,
                )

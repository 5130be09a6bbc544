"""Everything that has to be there before a container begins: its root, its files, its bundle."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from atoll.errors import InvalidRequest, WrongState
from atoll.model.container import Container, Mount, MountKind, SharingKind
from atoll.model.image import Image
from atoll.model.names import short_id, shown
from atoll.runtime import cgroups
from atoll.runtime.bundle.effective import Effective, effective
from atoll.runtime.bundle.host import HostAbilities
from atoll.runtime.bundle.spec import IdMap, Place, specification
from atoll.runtime.bundle.users import User, parse_user
from atoll.runtime.confined import read_in_root
from atoll.runtime.facts import find_devices
from atoll.runtime.images.store import ImageStore
from atoll.runtime.parts import SandboxView
from atoll.runtime.places import Places
from atoll.runtime.registry import Registry
from atoll.runtime.supervise import etcfiles
from atoll.runtime.supervise.etcfiles import EtcFiles
from atoll.runtime.supervise.mounts import mount_root, mount_tmpfs, unmount_below
from atoll.runtime.trees import remove_tree
from atoll.runtime.volumes import Volumes

REMAPPED = IdMap(first=1_895_825_408, count=65536)
"""Ids of containers with `--userns private`: above those of systemd-nspawn, and by default no user has them."""

HOST_GATEWAY = "host-gateway"
"""Docker's word for the host as containers reach it."""


@dataclass(frozen=True, slots=True)
class Preparer:
    """Makes bundles, and takes them away."""

    places: Places
    images: ImageStore
    volumes: Volumes
    registry: Registry
    abilities: HostAbilities
    init_program: str = ""

    async def prepare(self, container: Container, view: SandboxView) -> None:
        """Mount the root and write the bundle; what is left of an earlier run goes first.

        Raises InvalidRequest, NotFound (the image), WrongState (a container to join does not run), ProgramFailed.
        """
        await self.clean(container.id)
        image = self.images.find(container.image_id)
        merged = effective(image.config, container.config)
        bundle = self.places.bundle(container.id)
        self._make_private(container, bundle)
        await self._mount(container, image)
        self.write_files(container, view)
        _make_sources(container.mounts)
        spec = specification(
            container,
            merged,
            self.user(container, merged.user),
            self._place(container, view),
            self._abilities(container),
        )
        (bundle / "config.json").write_text(json.dumps(spec))

    def write_files(self, container: Container, view: SandboxView) -> None:
        """Write a container's files in /etc anew; one that runs sees the change. Raises InvalidRequest, OSError."""
        etcfiles.write(self.places.kept(container.id), etc_files(container, view))

    @contextlib.asynccontextmanager
    async def mounted(self, container: Container) -> AsyncIterator[Path]:
        """The root of a container that doesn't run, mounted for as long as the block lasts."""
        self._make_private(container, self.places.bundle(container.id))
        try:
            await self._mount(container, self.images.find(container.image_id))
            yield self.places.root(container.id)
        finally:
            await self.clean(container.id)

    async def clean(self, container_id: str) -> None:
        """Unmount and remove a bundle; one that isn't there is no error."""
        bundle = self.places.bundle(container_id)
        if bundle.is_dir():
            await unmount_below(bundle)
            await asyncio.to_thread(remove_tree, bundle)

    def effective(self, container: Container) -> Effective:
        """The container's settings over its image's."""
        return effective(self.images.find(container.image_id).config, container.config)

    def user(self, container: Container, text: str, group_add: tuple[str, ...] | None = None) -> User:
        """A user by the files of a container whose root is mounted."""
        root = self.places.root(container.id)
        return parse_user(
            text,
            passwd=read_in_root(root, "etc/passwd"),
            group=read_in_root(root, "etc/group"),
            group_add=container.host.group_add if group_add is None else group_add,
        )

    def _make_private(self, container: Container, bundle: Path) -> None:
        """Make the directories of a container: nobody else on this host may run what it has made set-id."""
        self.places.kept(container.id).mkdir(mode=0o700, parents=True, exist_ok=True)
        bundle.mkdir(mode=0o700, parents=True, exist_ok=True)
        if container.host.userns == "private":
            # Its root is nobody on the host, and has to reach its own files.
            os.chown(bundle, 0, REMAPPED.first)
            bundle.chmod(0o710)

    async def _mount(self, container: Container, image: Image) -> None:
        kept = self.places.kept(container.id)
        shift = REMAPPED.first if container.host.userns == "private" else 0
        names = [await self.images.layers.shifted(layer, shift) for layer in image.layers]
        await mount_root(self.images.layers.directory, names, kept, self.places.root(container.id))
        if shift:
            os.chown(self.places.root(container.id), shift, shift)
        if container.host.ipc.kind is SharingKind.SHAREABLE:
            shm = self.places.bundle(container.id) / "shm"
            await mount_tmpfs(shm, size_bytes=container.host.shm_bytes)

    def _place(self, container: Container, view: SandboxView) -> Place:
        kept = self.places.kept(container.id)
        own = {mount.target for mount in container.mounts}
        files = {f"/etc/{name}": str(kept / name) for name in etcfiles.TARGETS}
        return Place(
            root=str(self.places.root(container.id)),
            netns=view.netns,
            cgroup=cgroups.path_of(container),
            hostname=hostname_of(container),
            files={target: path for target, path in files.items() if target not in own},
            volumes=self._volumes(container),
            ipc=self._ipc(container),
            joined=self._joined(container),
            ids=REMAPPED if container.host.userns == "private" else None,
            init=self.init_program if container.host.init else "",
        )

    def _volumes(self, container: Container) -> dict[str, str]:
        volumes = [mount for mount in container.mounts if mount.kind is MountKind.VOLUME]
        return {mount.target: str(self.volumes.find(mount.source).path) for mount in volumes}

    def _ipc(self, container: Container) -> dict[str, str]:
        match container.host.ipc.kind:
            case SharingKind.HOST:
                return {path: path for path in ("/dev/shm", "/dev/mqueue") if Path(path).is_dir()}
            case SharingKind.SHAREABLE:
                return {"/dev/shm": str(self.places.bundle(container.id) / "shm")}
            case SharingKind.CONTAINER:
                return self._ipc(self.registry.find(container.host.ipc.container).container)
            case _:
                return {}

    def _joined(self, container: Container) -> Mapping[str, str]:
        found = {}
        for kind in ("ipc", "pid", "uts"):
            sharing = getattr(container.host, kind)
            if sharing.kind is not SharingKind.CONTAINER:
                continue
            owner = self.registry.find(sharing.container).container
            if not owner.pid:
                raise WrongState(
                    f"cannot join {kind} of container {owner.name}: it is not running", hint=f"atoll start {owner.name}"
                )
            if kind == "ipc" and owner.host.ipc.kind is not SharingKind.SHAREABLE:
                raise WrongState(
                    f"cannot join IPC of container {owner.name}: it is {owner.host.ipc.kind}",
                    hint=f"make {owner.name} with --ipc shareable",
                )
            found[kind] = f"/proc/{owner.pid}/ns/{kind}"
        return found

    def _abilities(self, container: Container) -> HostAbilities:
        wanted = [device.source for device in container.host.devices]
        return replace(
            self.abilities, devices=find_devices([*wanted, *(["/dev"] if container.host.privileged else [])])
        )


def hostname_of(container: Container) -> str:
    """As it was asked for, or the short id."""
    if container.host.uts.kind is SharingKind.HOST:
        return os.uname().nodename
    return container.config.hostname or short_id(container.id)


def etc_files(container: Container, view: SandboxView) -> EtcFiles:
    """What the files in /etc say: what the sandbox tells, unless the container was made with something else."""
    hostname = hostname_of(container)
    extra = []
    for entry in container.host.extra_hosts:
        name, separator, address = entry.partition(":") if "=" not in entry else entry.partition("=")
        if not separator or not name or not address:
            raise InvalidRequest(f"invalid extra host {entry!r}: write it as name:address")
        if address == HOST_GATEWAY:
            address = view.host_gateway
        extra.append((address.strip("[]"), (name,)))
    host = container.host
    return EtcFiles(
        hostname=hostname,
        hosts=(*view.hosts, *extra),
        nameservers=view.nameservers or host.dns,
        search=view.search or host.dns_search,
        options=view.options or host.dns_options,
    )


def _make_sources(mounts: tuple[Mount, ...]) -> None:
    for mount in mounts:
        if mount.kind is not MountKind.BIND:
            continue
        source = Path(mount.source)
        try:
            there = source.exists()
            if mount.make_source and not there:
                source.mkdir(mode=0o755, parents=True, exist_ok=True)
                continue
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise InvalidRequest(f"cannot use bind source path {shown(mount.source)}: {reason}") from None
        if not there:
            raise InvalidRequest(f"bind source path does not exist: {mount.source}", hint=f"mkdir -p {mount.source}")

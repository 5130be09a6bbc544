"""Docker's three ways to ask for mounts, parsed to one: `-v`, `--mount`, `--tmpfs`; and `--volumes-from`. Pure."""

from collections.abc import Callable
from dataclasses import replace

from atoll.api import container_body as body
from atoll.errors import InvalidRequest, Unsupported
from atoll.model.container import Container, Mount, MountKind, MountOrigin
from atoll.model.names import parse_name, shown

_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_PASSED_OVER = ("", "rw", "z", "Z", "consistent", "cached", "delegated")
"""Words of `-v` that change nothing here: labels of SELinux, and what is only for Docker Desktop."""


def parse_mounts(asked: body.Host, container: Callable[[str], Container]) -> tuple[Mount, ...]:
    """All mounts that are asked for. Raises InvalidRequest, Unsupported, NotFound (a container)."""
    found = [parse_bind(text) for text in asked.binds]
    found += [replace(_parse_spec(spec), origin=MountOrigin.SPEC) for spec in asked.mounts]
    found += [_parse_tmpfs(target, options) for target, options in asked.tmpfs.items()]
    taken = {mount.target for mount in found}
    for text in asked.volumes_from:
        reference, _, mode = text.partition(":")
        others = [mount for mount in container(reference).mounts if mount.kind is not MountKind.TMPFS]
        found += [
            replace(mount, read_only=mount.read_only or mode == "ro", anonymous=False, origin=MountOrigin.OTHER)
            for mount in others
            if mount.target not in taken
        ]
    return tuple(found)


def parse_bind(text: str) -> Mount:
    """One `-v`: SOURCE:TARGET[:OPTIONS], or a TARGET alone for a volume without a name. Raises InvalidRequest."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts[:2]) or "\0" in text:
        raise InvalidRequest(f"invalid volume specification: {shown(text)}", hint="write it as /here:/there:ro")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    if not target.startswith("/"):
        raise InvalidRequest(f"invalid volume specification: {shown(text)}: mount path must be absolute")
    read_only, propagation, copy = False, "rprivate", True
    for word in (parts[2] if len(parts) == 3 else "").split(","):
        if word == "ro":
            read_only = True
        elif word == "nocopy":
            copy = False
        elif word in _PROPAGATIONS:
            propagation = word
        elif word not in _PASSED_OVER:
            raise InvalidRequest(f"invalid volume specification: {shown(text)}: invalid mode: {word}")
    if source.startswith("/"):
        return Mount(MountKind.BIND, target, source, read_only, propagation, make_source=True)
    if source:
        parse_name("volume", source)
    return Mount(MountKind.VOLUME, target, source, read_only, copy=copy)


def _parse_spec(spec: body.MountSpec) -> Mount:
    try:
        kind = MountKind(spec.type)
    except ValueError:
        raise Unsupported(f"mount type {shown(spec.type)} is not available", hint="use bind, volume or tmpfs") from None
    if not spec.target:
        raise InvalidRequest("invalid mount config: field Target must not be empty")
    if kind is MountKind.BIND and "\0" in spec.source:
        raise InvalidRequest(f"invalid mount config: source {shown(spec.source)} is no path")
    if kind is MountKind.BIND:
        return Mount(
            kind,
            spec.target,
            spec.source,
            spec.read_only,
            spec.bind.propagation or "rprivate",
            recursive=not spec.bind.non_recursive,
            make_source=spec.bind.create_mountpoint,
        )
    if kind is MountKind.TMPFS:
        size, mode = spec.tmpfs.size_bytes, spec.tmpfs.mode
        return Mount(kind, spec.target, read_only=spec.read_only, size_bytes=size, mode=mode or 0o1777)
    if spec.volume.driver_config.name not in ("", "local"):
        raise Unsupported(f"volume driver {shown(spec.volume.driver_config.name)} is not known", hint="say local")
    if spec.source:
        parse_name("volume", spec.source)
    copy = not spec.volume.no_copy
    return Mount(kind, spec.target, spec.source, spec.read_only, copy=copy, labels=spec.volume.labels)


def _parse_tmpfs(target: str, options: str) -> Mount:
    found = tuple(word for word in options.split(",") if word)
    return Mount(MountKind.TMPFS, target, options=found)

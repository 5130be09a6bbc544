"""Images as Docker's JSON shows them. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from atoll.api.clock import rfc3339
from atoll.api.filters import parse_filters
from atoll.api.versions import ApiVersion, fields_of
from atoll.model.image import Image

_KEYS = frozenset({"before", "dangling", "label", "reference", "since"})
_NULLS_UNTIL = ApiVersion(1, 43)
"""Until then an image without names has Docker's placeholders, and no names of one kind are null."""
_PLAIN_FROM = ApiVersion(1, 50)
"""From here on an image's config has what the OCI knows, and only what is set."""
_EMPTY_CONFIG: Mapping[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
"""Go's zero value of a container's config. Source: Docker Engine API, ImageConfig."""
_SECOND_NS = 10**9


def encode_image(image: Image, version: ApiVersion) -> dict[str, Any]:
    """What GET /images/{name}/json answers."""
    config = json.loads(image.raw).get("config") or {}
    body = {
        "Id": f"sha256:{image.id}",
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Parent": "",
        "Comment": image.comment,
        "Created": rfc3339(image.created_ns),
        "Container": "",
        "ContainerConfig": dict(_EMPTY_CONFIG),
        "DockerVersion": "",
        "Author": image.author,
        "Config": config if version >= _PLAIN_FROM else {**_EMPTY_CONFIG, **config},
        "Architecture": image.architecture,
        "Os": image.os,
        "Size": image.size_bytes,
        "VirtualSize": image.size_bytes,
        "GraphDriver": {"Name": "overlay2", "Data": {}},
        "RootFS": {"Type": "layers", "Layers": [f"sha256:{digits}" for digits in image.layers]},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }
    return fields_of(version, body)


def encode_image_line(
    image: Image, version: ApiVersion, *, containers: int = -1, shared_bytes: int = -1
) -> dict[str, Any]:
    """A line of GET /images/json.

    `containers` is how many are of it, `shared_bytes` what it has in common with others; -1 when nobody counted.
    """
    names: dict[str, Any] = {"RepoTags": list(image.tags), "RepoDigests": list(image.digests)}
    if version < _NULLS_UNTIL and not any(names.values()):
        names = {"RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}
    elif version < _NULLS_UNTIL:
        names = {kind: found or None for kind, found in names.items()}
    body = {
        "Id": f"sha256:{image.id}",
        "ParentId": "",
        **names,
        "Created": image.created_ns // _SECOND_NS,
        "Size": image.size_bytes,
        "SharedSize": shared_bytes,
        "Labels": dict(image.config.labels) or None,
        "Containers": containers,
        "VirtualSize": image.size_bytes,
    }
    return fields_of(version, body)


def parse_image_filters(text: str, find: Callable[[str], Image]) -> Callable[[Image], Image | None]:
    """What is listed of an image: itself with the names that were asked for, or nothing.

    `find` raises NotFound. Raises InvalidRequest, NotFound.
    """
    filters = parse_filters(text, known=_KEYS)
    dangling = filters.flag("dangling")
    patterns = filters.values.get("reference")
    older = [find(name).created_ns for name in filters.values.get("before", ())]
    newer = [find(name).created_ns for name in filters.values.get("since", ())]

    def shown(image: Image) -> Image | None:
        wanted = (
            (dangling is None or dangling is not bool(image.tags))
            and filters.labelled("label", image.config.labels)
            and all(image.created_ns < moment for moment in older)
            and all(image.created_ns > moment for moment in newer)
        )
        if patterns is None or not wanted:
            return image if wanted else None
        tags = tuple(name for name in image.tags if any(_fits(name, pattern) for pattern in patterns))
        return replace(image, tags=tags, digests=()) if tags else None

    return shown


def _fits(name: str, pattern: str) -> bool:
    """A pattern without a tag is of the repository."""
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition(":")[0], pattern)

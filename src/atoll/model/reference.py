"""Image references: `busybox` is docker.io/library/busybox:latest.

Source: the grammar of distribution/reference, as Docker and OCI registries use it.
"""

import re
from dataclasses import dataclass

from atoll.errors import InvalidRequest
from atoll.model.names import shown

DEFAULT_REGISTRY = "docker.io"
DEFAULT_PATH = "library"
DEFAULT_TAG = "latest"
REPOSITORY_LENGTH_MAX = 255

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?\Z")
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(r"[\w][\w.-]{0,127}\Z", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_ID = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository with a tag, a digest or both; the registry and the path are complete.

    With a digest the tag is only told: the digest decides.
    """

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """Complete: `docker.io/library/busybox`."""
        return f"{self.registry}/{self.path}"

    @property
    def familiar_repository(self) -> str:
        """As people write it: `busybox`, `team/app`, `localhost:5000/app`."""
        if self.registry != DEFAULT_REGISTRY:
            return self.repository
        return self.path.removeprefix(f"{DEFAULT_PATH}/") if self.path.count("/") == 1 else self.path

    @property
    def familiar(self) -> str:
        """As people write it, with the tag and the digest."""
        return self.familiar_repository + self._suffix

    @property
    def complete(self) -> str:
        """With registry, path, tag and digest, as `skopeo` takes it after `docker://`."""
        return self.repository + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Parse a name of an image; without tag and digest the tag is `latest`. Raises InvalidRequest."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.match(digest):
        raise _invalid(text, f"{shown(digest)} is not a digest: write it as sha256: and 64 digits")
    head, colon, tag = rest.rpartition(":")
    # The colon of a port is followed by a path.
    if not colon or "/" in tag:
        head, tag = rest, ""
    elif not _TAG.match(tag):
        raise _invalid(text, f"{shown(tag)} is not a tag: up to 128 letters, digits, _ . -")
    if _ID.match(head):
        raise _invalid(text, "it looks like the id of an image")
    registry, slash, path = head.partition("/")
    if not slash or not ("." in registry or ":" in registry or registry == "localhost" or registry != registry.lower()):
        registry, path = DEFAULT_REGISTRY, head
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"{DEFAULT_PATH}/{path}"
    if not _REGISTRY.match(registry):
        raise _invalid(text, f"{shown(registry)} is not a host name with an optional port")
    if not _PATH.match(path):
        reason = "a repository is in lower case" if path != path.lower() else "only a-z 0-9 . _ - / are allowed"
        raise _invalid(text, reason)
    if len(registry) + len(path) + 1 > REPOSITORY_LENGTH_MAX:
        raise _invalid(text, f"a repository has at most {REPOSITORY_LENGTH_MAX} characters")
    return Reference(registry, path, tag or ("" if digest else DEFAULT_TAG), digest)


def parse_tagged(text: str) -> Reference:
    """Parse a name that an image is to be given. Only a registry gives digests. Raises InvalidRequest."""
    reference = parse_reference(text)
    if reference.digest:
        raise InvalidRequest(
            f"refusing to create a tag with a digest reference: {shown(text)}", hint=f"name it {reference.path}:latest"
        )
    return reference


def _invalid(text: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"invalid reference format {shown(text)}: {reason}", hint="write it as busybox:latest")

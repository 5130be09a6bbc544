"""Images out of registries, by skopeo."""

import base64
import hashlib
import ipaddress
import json
from dataclasses import dataclass, replace
from pathlib import Path

from atoll.model.image import Image
from atoll.model.reference import Reference
from atoll.runtime.images.ingest import Tell, fetch, refusal, work_directory
from atoll.runtime.images.store import ImageStore
from atoll.runtime.programs import ProgramFailed, run

INSPECT_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Of a registry. Never shown."""

    user: str
    password: str


async def pull(
    images: ImageStore,
    reference: Reference,
    *,
    tell: Tell,
    credentials: Credentials | None = None,
    platform: str = "",
) -> tuple[Image, str]:
    """The image of a reference, and the digest that the registry has it under (`sha256:...`).

    A tag is looked up once, and what it leads to is then fetched by digest: it can't change in between. `platform` is
    `linux/amd64` or such, this host's by default. Raises NotFound, Unavailable, InvalidRequest, StoreFull, Unsupported.
    """
    with work_directory(images) as work:
        options = _options(reference, credentials, work, prefix="src-")
        digest = reference.digest or await _digest(reference, _options(reference, credentials, work, prefix=""))
        exact = replace(reference, tag="", digest=digest)
        names = [exact, *([replace(reference, digest="")] if reference.tag else [])]
        image = await fetch(
            images,
            f"docker://{exact.complete}",
            names=names,
            work=work,
            tell=tell,
            options=options,
            platform=platform,
        )
        return image, digest


async def _digest(reference: Reference, options: list[str]) -> str:
    source = f"docker://{reference.complete}"
    inspect = ("skopeo", "--insecure-policy", "inspect", "--raw", *options, source)
    try:
        manifest = (await run(*inspect, timeout_s=INSPECT_TIMEOUT_S)).output
    except ProgramFailed as error:
        raise refusal(error, source) from error
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def _options(reference: Reference, credentials: Credentials | None, work: Path, *, prefix: str) -> list[str]:
    options = []
    if _is_local(reference.registry):
        options.append(f"--{prefix}tls-verify=false")
    if credentials is not None:
        # In a file: everybody may read a command line.
        secret = base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()
        path = work / "auth.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"auths": {reference.registry: {"auth": secret}}}))
        options += [f"--{prefix}authfile" if prefix else "--authfile", str(path)]
    return options


def _is_local(registry: str) -> bool:
    """Whether plain HTTP will do: Docker's rule for registries on this host."""
    host = registry.rpartition(":")[0] if registry.rpartition(":")[2].isdecimal() else registry
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

"""Where atoll answers otherwise than dockerd 20.10 does, each with the reason."""

from collections.abc import Mapping
from types import MappingProxyType

_SLOPPY = "dockerd answers 500 to what the caller got wrong"
_NEWER = "as Docker 28 does; this one is 20.10"
_NO_SWARM = "there is no swarm to be a node of"
_WORDS = "runc's words, without what containerd puts around them"

CODES: Mapping[str, str] = MappingProxyType(
    {
        "exec box nosuch": f"127, as shells say: {_NEWER}",
        "exec --workdir /absent box true": f"127, as shells say: {_NEWER}",
    }
)
"""By line of a session: its exit code differs."""

OUTPUTS: Mapping[str, str] = MappingProxyType(
    {
        "exec box nosuch": _WORDS,
        "exec box /etc": _WORDS,
        "exec --user nosuch box true": _WORDS,
        "exec --workdir /absent box true": _WORDS,
        "rmi made:1": "layers are kept by content, and no ids of theirs are told",
    }
)
"""By line of a session: its output differs."""

ANSWERS: Mapping[str, str] = MappingProxyType(
    {
        "*: .Driver has the value *": "the image's layers are mounted by overlayfs; this dockerd copies them",
        "*: .GraphDriver*": "the image's layers are mounted by overlayfs; this dockerd copies them",
        "*: .HostConfig.KernelMemory* is theirs alone": "no runc limits it any more, and Docker dropped it in 1.42",
        "*: .HostConfig.MaskedPaths[[]] *": _NEWER,
        "*: .HostConfig.CgroupnsMode has the value *": "a namespace of its own on cgroup v1, too",
        "*: .HostConfig.IpcMode has the value *": "so that others can join it, without having been made for that",
        "*: .Namespaces is ours alone": "which namespaces it has, and who shares them",
        "*: .NetworkSettings.SandboxID has the value '*', ours ''": "a sandbox ends with its container's run",
        "*.DriverOpts is object, ours null": "an empty wish is none",
        "*: .memory_stats.stats.* is ours alone": "all that the kernel tells",
        "POST /containers/ID/wait*condition=next-exit: . is object, ours null": "the client goes without waiting",
        "POST /containers/ID/wait*: .Error is object, ours null": "why it didn't start is told to who started it",
        "POST /containers/one/unpause: status 500, ours 409": _SLOPPY,
        "POST /containers/ID/start: status 500, ours 40[09]": _SLOPPY,
        "POST /containers/create: status 500, ours 400": _SLOPPY,
        "POST /networks/back/disconnect: status 500, ours 403": _SLOPPY,
        "POST /images/create*: status 500, ours 503": "a registry out of reach may be back later",
        "POST /images/load*: status 200, ours 400": "what can't be read is refused before the answer begins",
        "DELETE /images/made:1: [[]] has 3, ours 2": "layers are kept by content, and no ids of theirs are told",
        "GET /images/made:1/json: .DockerVersion has the value *": "no Docker made it",
        "requests: *": "who is to be joined has to be there when a container is made, not only when it starts",
        "GET /events*: .image: * is theirs alone": "images tell nothing yet",
        "GET /events*: .volume: * is theirs alone": "volumes tell nothing yet",
        "GET /version: .Components[[]] has 4, ours 1": "no containerd, and no other part with a version of its own",
        "GET /info: .*Commit is theirs alone": "no containerd; runc and the init are the host's, of any version",
        "GET /info: .DriverStatus is null, ours array": "a list without members",
        "GET /info: .IndexServerAddress is theirs alone": "nobody searches, or logs in to, Docker's registry",
        "GET /info: .RegistryConfig is theirs alone": "registries are skopeo's to configure",
        "GET /info: .KernelMemory* is theirs alone": "no runc limits it any more, and Docker dropped it in 1.42",
        "GET /info: .N* is theirs alone": "of Go's runtime",
        "GET /info: .Plugins.* has *": "fewer drivers",
        "GET /info: .Runtimes.io.containerd.* is theirs alone": "no containerd",
        "GET /system/df: .Build*": "nothing is built",
        "GET /images/search*: status 500, ours 501": "nobody searches Docker's registry",
        "POST /swarm/leave: status 503, ours 501": _NO_SWARM,
        "GET /nodes: status 503, ours 501": _NO_SWARM,
        "GET /services*: status 503, ours 501": _NO_SWARM,
    }
)
"""By pattern of a difference in an answer: keys, types, values, statuses."""

"""Docker's JSON about the engine itself. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.api.clock import rfc3339
from atoll.api.versions import NEWEST, OLDEST, ApiVersion, fields_of
from atoll.model.addresses import Family
from atoll.model.container import Container, Status
from atoll.model.facts import HostFacts
from atoll.model.network import Driver

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""Go's name of a machine, by the kernel's."""

_CONTAINERS: Mapping[str, Any] = {
    "DefaultRuntime": "runc",
    "Runtimes": {"runc": {"path": "runc"}},
    "LoggingDriver": "json-file",
    "MemoryLimit": True,
    "SwapLimit": True,
    "CpuCfsPeriod": True,
    "CpuCfsQuota": True,
    "CPUShares": True,
    "CPUSet": True,
    "PidsLimit": True,
    "OomKillDisable": True,
    "CgroupDriver": "cgroupfs",
    "Isolation": "",
    "GenericResources": None,
    "HttpProxy": "",
    "HttpsProxy": "",
    "NoProxy": "",
}
"""What containers are given and can be limited in."""

_NO_SWARM: Mapping[str, Any] = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


@dataclass(frozen=True, slots=True)
class About:
    """What does not change while the daemon runs.

    `machine` is the kernel's name of it (`x86_64`), `system` the distribution's name, `engine_id` identifies this
    daemon's state. `started_ns` is Unix time.
    """

    version: str
    pid: int
    state_directory: str
    run_directory: str
    hostname: str
    kernel: str
    machine: str
    system: str
    system_version: str
    cpus: int
    memory_bytes: int
    engine_id: str
    started_ns: int
    cgroup_version: int
    seccomp: bool
    """Whether there is a default profile."""
    init_program: str
    """The init of containers that want one; "" for none."""

    @property
    def architecture(self) -> str:
        """Go's name of the machine, which clients compare with their own."""
        return _ARCHITECTURES.get(self.machine, self.machine)


def encode_version(about: About) -> dict[str, Any]:
    """What GET /version answers."""
    details = {
        "ApiVersion": str(NEWEST),
        "Arch": about.architecture,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": about.kernel,
        "MinAPIVersion": str(OLDEST),
        "Os": "linux",
    }
    return {
        "Platform": {"Name": "atoll"},
        "Components": [{"Name": "Engine", "Version": about.version, "Details": details}],
        "Version": about.version,
        "ApiVersion": str(NEWEST),
        "MinAPIVersion": str(OLDEST),
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": about.architecture,
        "KernelVersion": about.kernel,
        "BuildTime": "",
    }


def encode_info(
    about: About,
    containers: Sequence[Container],
    facts: HostFacts,
    version: ApiVersion,
    *,
    images: int,
    now_ns: int,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """What GET /info answers. `images` is how many there are."""
    # From 1.48 on bridge-nf-call is no matter of the engine: always false, then left out.
    bridge_nf = facts.bridge_nf_call if version < ApiVersion(1, 48) else {}
    states = [container.status for container in containers]
    body = {
        "ID": about.engine_id,
        "Containers": len(containers),
        "ContainersRunning": states.count(Status.RUNNING),
        "ContainersPaused": states.count(Status.PAUSED),
        "ContainersStopped": sum(not status.has_process for status in states),
        "Images": images,
        "CgroupVersion": str(about.cgroup_version),
        "SecurityOptions": ["name=seccomp,profile=builtin"] if about.seccomp else [],
        "InitBinary": about.init_program,
        "Driver": "overlay2",
        "DriverStatus": [],
        "Plugins": {
            "Volume": ["local"],
            "Network": sorted(driver.value for driver in Driver),
            "Authorization": None,
            "Log": ["json-file"],
        },
        "IPv4Forwarding": facts.forwarding.get(Family.V4, False),
        "BridgeNfIptables": bridge_nf.get(Family.V4, False),
        "BridgeNfIp6tables": bridge_nf.get(Family.V6, False),
        "FirewallBackend": {"Driver": "nftables"},
        "Debug": False,
        "SystemTime": rfc3339(now_ns),
        "KernelVersion": about.kernel,
        "OperatingSystem": about.system,
        "OSVersion": about.system_version,
        "OSType": "linux",
        "Architecture": about.machine,
        "NCPU": about.cpus,
        "MemTotal": about.memory_bytes,
        "DockerRootDir": about.state_directory,
        "Name": about.hostname,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": about.version,
        "Swarm": dict(_NO_SWARM),
        "LiveRestoreEnabled": True,
        **_CONTAINERS,
        "Warnings": list(warnings) or None,
    }
    return fields_of(version, body)

"""Whole specifications as files: an image's config and a container's record in, what the runtime is given out."""

import json
from pathlib import Path
from typing import Any

import pytest

from atoll.model.container import Container
from atoll.model.image import parse_image_config
from atoll.runtime.bundle.effective import effective
from atoll.runtime.bundle.host import HostAbilities, HostDevice
from atoll.runtime.bundle.spec import IdMap, Place, specification
from atoll.runtime.bundle.users import parse_user
from atoll.store.codec import decode_record

CASES = sorted(path.parent for path in Path(__file__).parent.glob("specifications/*/container.json"))
PASSWD = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n"
GROUP = "root:x:0:\ndisk:x:6:www-data\nwww-data:x:33:\n"
PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {}},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
        {"names": ["breakpoint"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm"]}},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
        {"names": ["reboot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_BOOT"]}},
        {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_ADMIN"]}, "errnoRet": 1},
        {"names": ["setns"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_NET_ADMIN"]}},
    ],
}
"""Each kind of condition once."""


def specification_of(folder: Path) -> str:
    case: dict[str, Any] = json.loads((folder / "container.json").read_text())
    record = json.dumps(case["container"]).encode()
    container = decode_record("container", case["container"]["id"], record, where=folder.name)
    assert isinstance(container, Container)
    place = dict(case["place"])
    remapped = place.pop("remapped", False)
    merged = effective(parse_image_config(case["image"]), container.config)
    host = HostAbilities(
        swap_limit=True,
        seccomp_profile=json.dumps(PROFILE),
        devices={"/dev/fuse": (HostDevice("/dev/fuse", "c", 10, 229, 0o660, 0, 6),)},
    )
    made = specification(
        container,
        merged,
        parse_user(merged.user, passwd=PASSWD, group=GROUP, group_add=container.host.group_add),
        Place(
            root="/run/containers/1/root",
            netns="/run/netns/1",
            cgroup="/atoll/1",
            hostname=container.config.hostname or "1111",
            files={"/etc/hosts": "/state/containers/1/hosts"},
            ids=IdMap(100_000, 65536) if remapped else None,
            **place,
        ),
        host,
    )
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_specification(folder: Path, request: pytest.FixtureRequest) -> None:
    expected = folder / "config.json"
    made = specification_of(folder)
    if request.config.getoption("--update-golden", default=False):
        expected.write_text(made)
    assert made == expected.read_text()


def test_there_are_cases() -> None:
    assert len(CASES) >= 3

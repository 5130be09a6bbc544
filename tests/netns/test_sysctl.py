"""Sysctls through a proc filesystem of our own are those of the thread's namespace, as through /proc."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atoll.kernel import sysctl
from tests.netns.namespaces import inside, namespace, run

PATH = "net/ipv4/ip_default_ttl"


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[str, str]]:
    with namespace("sysone") as one, namespace("systwo") as two:
        yield one, two


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_view_is_of_the_namespace_that_asks(hosts: tuple[str, str]) -> None:
    view = sysctl.View()
    for host, value in zip(hosts, ("41", "42"), strict=True):
        inside(host, lambda value=value: sysctl.write(PATH, value, view))
    for host, value in zip(hosts, ("41", "42"), strict=True):
        assert inside(host, lambda: (sysctl.read(PATH, view), sysctl.read(PATH))) == (value, value)
    view.close()


def test_view_shows_what_comes_and_goes(hosts: tuple[str, str]) -> None:
    view = sysctl.View()
    path = "net/ipv6/conf/late/accept_ra"

    def seen() -> str | None:
        return inside(hosts[0], lambda: sysctl.read(path, view))

    assert seen() is None
    for _ in range(2):
        run(hosts[0], "ip link add late type bridge")
        assert seen() == "1"
        run(hosts[0], "ip link delete late")
        assert seen() is None
    with pytest.raises(FileNotFoundError):
        inside(hosts[0], lambda: sysctl.write(path, "0", view))
    view.close()


def test_view_is_made_anew_and_leaves_no_descriptor_behind(hosts: tuple[str, str]) -> None:
    view, before = sysctl.View(), open_files()

    def read_often() -> set[str | None]:
        return {sysctl.read(PATH, view) for _ in range(2 * sysctl.USES_MAX + 1)}

    assert len(inside(hosts[0], read_often)) == 1
    assert open_files() == before + 1
    view.close()
    view.close()
    assert open_files() == before
    assert inside(hosts[0], read_often) != {None}
    view.close()


def test_view_is_mounted_nowhere(hosts: tuple[str, str]) -> None:
    mounts = Path("/proc/self/mounts").read_text()
    view = sysctl.View()
    inside(hosts[0], lambda: sysctl.read(PATH, view))
    assert Path("/proc/self/mounts").read_text() == mounts
    view.close()

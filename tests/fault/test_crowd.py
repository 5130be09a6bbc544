"""Many containers begin and end at the same time, and nothing of any is left."""

from concurrent.futures import ThreadPoolExecutor

from tests.fault.wholeness import inventory, know
from tests.support.daemon import DaemonHost, daemon_host

AT_ONCE = 10


def live(host: DaemonHost, number: int) -> int:
    """A container that is made, started, waited for and removed; its exit code."""
    name = f"c{number}"
    body = {"Image": "busybox", "Cmd": ["sh", "-c", f"exit {number % 100}"], "Volumes": {"/data": {}}}
    know(host, host.must("POST", f"/containers/create?name={name}", body)["Id"])
    host.must("POST", f"/containers/{name}/start")
    code = host.must("POST", f"/containers/{name}/wait")["StatusCode"]
    host.must("DELETE", f"/containers/{name}?v=1")
    return int(code)


def starts_leave_nothing(count: int) -> None:
    """So many lives, ten at a time."""
    with daemon_host("crowd") as host, ThreadPoolExecutor(AT_ONCE) as several:
        host.must("POST", "/atoll/images/bootstrap")
        live(host, 0)
        before = inventory(host)
        codes: list[int] = []
        for first in range(0, count, AT_ONCE):
            codes += several.map(lambda number: live(host, number), range(first, first + AT_ONCE))
        assert codes == [number % 100 for number in range(count)]
        assert inventory(host) == before
        assert "ERROR" not in host.log


def test_40_starts_of_10_at_once_leave_nothing() -> None:
    starts_leave_nothing(40)

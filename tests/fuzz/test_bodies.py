"""Bodies of what is made and changed: refused without a trace, or done so that it can be seen, kept and removed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.api import container_body
from atoll.api.docker_endpoints import _Connect, _Disconnect
from atoll.api.docker_networks import _NetworkCreate
from atoll.api.sandboxes import _SandboxCreate
from atoll.api.volume_routes import _VolumeCreate
from tests.fuzz.effort import tries
from tests.fuzz.junk import bodies, texts, values
from tests.fuzz.target import RUNS, STAYS, Target

ON_THE_HOST = {
    "Binds", "Mounts", "Devices", "Privileged", "IpcMode", "PidMode", "UTSMode", "CgroupParent", "VolumesFrom",
    "NetworkMode",
    "Runtime",
}  # fmt: skip
"""What lets a container that runs change the machine."""

made = {
    "/networks/create": bodies(_NetworkCreate).map(lambda body: {"Name": "fresh", **body}),
    "/volumes/create": bodies(_VolumeCreate).map(lambda body: {"Name": "fresh", **body}),
    "/atoll/sandboxes/create": bodies(_SandboxCreate).map(lambda body: {"Name": "fresh", **body}),
}
containers = bodies(container_body.Create).map(lambda body: {"Image": "busybox", **body})
harmless = bodies(container_body.Create, without=lambda name: name == "HostConfig").flatmap(
    lambda body: bodies(container_body.Host, without=ON_THE_HOST.__contains__).map(
        lambda host: {"Image": "busybox", "Cmd": ["true"], **body, "HostConfig": host}
    )
)


def refused_or_there(target: Target, where: str, body: Any, seen: str) -> str:
    """The id or name of what was made, "" of what was refused: then nothing has changed."""
    before = target.there()
    answer = target.ask("POST", where, body)
    if answer.status >= 300:
        assert target.there() == before, (body, answer)
        return ""
    name = str(answer.body.get("Id") or answer.body["Name"])
    assert target.ask("GET", seen.format(name)).status == 200
    target.there()
    return name


@tries(60)
@given(body=containers)
def test_container_bodies(target: Target, body: Any) -> None:
    made_id = refused_or_there(target, "/containers/create", body, "/containers/{}/json")
    if made_id:
        assert target.ask("DELETE", f"/containers/{made_id}?v=1").status == 204


@tries(6)
@given(body=harmless)
def test_containers_that_are_started(target: Target, body: Any) -> None:
    made_id = refused_or_there(target, "/containers/create", body, "/containers/{}/json")
    if made_id:
        target.ask("POST", f"/containers/{made_id}/start")
        assert target.ask("GET", f"/containers/{made_id}/json").status in (200, 404)
        assert target.ask("DELETE", f"/containers/{made_id}?force=1&v=1").status in (204, 404)


@tries(40)
@given(data=st.data(), where=st.sampled_from(sorted(made)))
def test_other_bodies(target: Target, data: st.DataObject, where: str) -> None:
    body = data.draw(made[where])
    # Somebody's namespaces are taken over by these two, which is another matter.
    if isinstance(body, dict) and (body.get("Pid") or body.get("NetnsPath")):
        return
    one = where.removesuffix("create") + "{}"
    name = refused_or_there(target, where, body, one)
    if name:
        assert target.ask("DELETE", one.format(name)).status == 204


@tries(30)
@given(
    data=st.data(),
    verb=st.sampled_from(["exec", "update", "connect", "disconnect", "allow"]),
    name=st.sampled_from([STAYS, RUNS]),
)
def test_bodies_of_what_is_there(target: Target, data: st.DataObject, verb: str, name: str) -> None:
    match verb:
        case "exec":
            answer = target.ask("POST", f"/containers/{name}/exec", data.draw(bodies(container_body.ExecCreate)))
            if answer.status == 201:
                made_id = answer.body["Id"]
                start = data.draw(bodies(container_body.ExecStart).map(lambda body: {**body, "Detach": True}))
                target.ask("POST", f"/exec/{made_id}/start", start)
                assert target.ask("GET", f"/exec/{made_id}/json").status == 200
        case "update":
            target.ask("POST", f"/containers/{name}/update", data.draw(bodies(container_body.Resources)))
        case "connect" | "disconnect":
            plain = target.ask("POST", "/atoll/sandboxes/create", {"Name": "plain"})
            assert plain.status in (201, 409)
            shape = _Connect if verb == "connect" else _Disconnect
            body = data.draw(bodies(shape).map(lambda body: {**body, "Container": "plain"}))
            target.ask("POST", f"/networks/bridge/{verb}", body)
        case "allow":
            target.ask("POST", "/atoll/networks/bridge/allow", {"Target": data.draw(texts)})


@tries(30)
@given(
    raw=st.binary(max_size=40)
    | values.map(lambda value: json.dumps(value).encode())
    | st.sampled_from(
        [b"[" * 100_000, b'{"a":' * 50_000, b'{"Name":"\\ud800"}', b'{"Name":1e400}', b'{"a":1' + b"0" * 5000 + b"}"]
    ),
    where=st.sampled_from(["/containers/create", "/networks/create", "/volumes/create", f"/containers/{RUNS}/exec"]),
)
def test_bodies_that_are_none(target: Target, raw: bytes, where: str) -> None:
    assert target.ask("POST", where, raw=raw).status < 500


@pytest.mark.parametrize("name", [STAYS, RUNS])
def test_what_stayed_is_whole(target: Target, name: str) -> None:
    assert target.ask("GET", f"/containers/{name}/json").status == 200

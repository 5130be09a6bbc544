"""Wrong requests about containers, execs, images and volumes: status and sense of the message are a real dockerd's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.daemon import Answer
from tests.support.twins import IMAGE, Engine, twins

CREATE = "/containers/create"
ABSENT = "f" * 64
SLOPPY = "dockerd answers 500 to what the caller got wrong"
LATER = "dockerd finds it out at the start alone"
STRICT = "what can't be used is refused, where dockerd passes it over"


@dataclass(frozen=True)
class Wrong:
    """A request and its status; `sense` is in both messages, whatever their case.

    `theirs` is dockerd's status where it differs, with the reason in `why`.
    """

    method: str
    target: str
    status: int
    sense: str
    body: Any = None
    theirs: int = 0
    why: str = ""


def get(target: str, status: int, sense: str, **more: Any) -> Wrong:
    return Wrong("GET", target, status, sense, **more)


def post(target: str, status: int, sense: str, body: Any = None, **more: Any) -> Wrong:
    return Wrong("POST", target, status, sense, body, **more)


def create(status: int, sense: str, *, name: str = "", theirs: int = 0, why: str = "", **body: Any) -> Wrong:
    target = f"{CREATE}?name={name}" if name else CREATE
    return Wrong("POST", target, status, sense, {"Image": IMAGE, **body}, theirs=theirs, why=why)


def host(status: int, sense: str, *, theirs: int = 0, why: str = "", **config: Any) -> Wrong:
    return create(status, sense, theirs=theirs, why=why, HostConfig=config)


BINDING = {"80/tcp": [{"HostPort": "x"}]}
WRONG = [
    get("/containers/absent/json", 404, "no such container: absent"),
    get(f"/containers/{ABSENT}/json", 404, "no such container"),
    post("/containers/absent/start", 404, "no such container: absent"),
    post("/containers/absent/stop", 404, "no such container: absent"),
    post("/containers/absent/kill", 404, "no such container: absent"),
    post("/containers/absent/wait", 404, "no such container: absent"),
    post("/containers/absent/attach?stream=1&stdout=1", 404, "no such container: absent"),
    post("/containers/absent/exec", 404, "no such container: absent", {"Cmd": ["true"]}),
    post("/containers/absent/rename?name=x", 404, "no such container: absent"),
    post("/containers/absent/update", 404, "no such container: absent", {"Memory": 0}),
    get("/containers/absent/logs?stdout=1", 404, "no such container: absent"),
    get("/containers/absent/top", 404, "no such container: absent"),
    get("/containers/absent/stats?stream=0", 404, "no such container: absent"),
    get("/containers/absent/changes", 404, "no such container: absent"),
    get("/containers/absent/export", 404, "no such container: absent"),
    get("/containers/absent/archive?path=/", 404, "no such container: absent"),
    Wrong("DELETE", "/containers/absent", 404, "no such container: absent"),
    post("/containers/runs/start", 304, ""),
    post("/containers/ended/stop", 304, ""),
    Wrong("DELETE", "/containers/runs", 409, "stop the container before"),
    Wrong("DELETE", "/containers/sleeps", 409, "paused"),
    post("/containers/ended/kill", 409, "is not running"),
    post("/containers/ended/pause", 409, "is not running"),
    post("/containers/ended/exec", 409, "is not running", {"Cmd": ["true"]}),
    post("/containers/ended/resize?h=1&w=1", 409, "is not running"),
    get("/containers/ended/top", 409, "is not running"),
    post("/containers/sleeps/pause", 409, "is already paused"),
    post("/containers/sleeps/exec", 409, "is paused", {"Cmd": ["true"]}),
    post("/containers/sleeps/start", 409, "cannot start a paused container, try unpause instead"),
    post("/containers/runs/unpause", 409, "is not paused", theirs=500, why=SLOPPY),
    post("/containers/runs/rename?name=ended", 409, "already in use by container"),
    post("/containers/runs/rename", 400, "empty"),
    post("/containers/runs/rename?name=a/b", 400, "invalid container name"),
    post("/containers/runs/kill?signal=NOSUCH", 400, "invalid signal"),
    post("/containers/runs/kill?signal=99", 400, "invalid signal", theirs=500, why=SLOPPY),
    post("/containers/runs/exec", 400, "no exec command specified", {"Cmd": []}),
    post("/containers/runs/resize?h=x&w=1", 400, ""),
    post("/containers/runs/update", 400, "minimum memory limit allowed is 6mb", {"Memory": 1000}),
    post("/containers/runs/update", 400, "restart policy", {"RestartPolicy": {"Name": "sometimes"}}),
    get("/containers/runs/logs", 400, "you must choose at least one stream"),
    get("/containers/runs/top?ps_args=-o%20args", 400, "couldn't find pid field", theirs=500, why=SLOPPY),
    get("/containers/runs/archive", 400, "path"),
    get("/containers/runs/archive?path=/absent", 404, "could not find the file /absent in container runs"),
    Wrong("PUT", "/containers/runs/archive?path=/absent", 404, "could not find the file /absent in container runs"),
    Wrong("PUT", "/containers/runs/archive?path=/bin/busybox", 400, "is not a directory", theirs=500, why=SLOPPY),
    get("/containers/json?filters=%7B%22colour%22%3A%5B%22x%22%5D%7D", 400, "invalid filter 'colour'"),
    get("/containers/json?filters=nonsense", 400, "", theirs=500, why=SLOPPY),
    get("/containers/json?filters=%7B%22status%22%3A%5B%22x%22%5D%7D", 400, "status"),
    get("/containers/json?limit=x", 400, "", theirs=500, why=SLOPPY),
    post("/containers/prune?filters=%7B%22colour%22%3A%5B%22x%22%5D%7D", 400, "invalid filter 'colour'"),
    create(409, "already in use by container", name="runs"),
    create(400, "only [a-za-z0-9][a-za-z0-9_.-] are allowed", name="a%20b"),
    create(201, "", name="a", theirs=400, why="one letter is a name, too"),
    create(404, "no such image: absent:latest", Image="absent"),
    create(400, "", Image=""),
    create(400, "", Image="UPPER"),
    create(400, "", Cmd=5, theirs=500, why=SLOPPY),
    create(400, "invalid signal", StopSignal="NOSUCH"),
    create(400, "health", Healthcheck={"Test": ["CMD", "true"], "Interval": 5}),
    create(400, "health", Healthcheck={"Test": ["SOMETIMES"]}, theirs=201, why=STRICT),
    create(400, "invalid mac address", MacAddress="here", theirs=201, why=LATER),
    create(400, "invalid environment variable", Env=["=x"]),
    create(400, "mount", Volumes={"relative": {}}, theirs=201, why=STRICT),
    host(400, "port", PortBindings=BINDING),
    host(400, "port", PortBindings={"x/tcp": [{"HostPort": "80"}]}),
    host(400, "minimum memory limit allowed is 6mb", Memory=1000),
    host(400, "cpu", NanoCpus=-5),
    host(400, "restart policy", RestartPolicy={"Name": "sometimes"}),
    host(400, "maximum retry count", RestartPolicy={"Name": "always", "MaximumRetryCount": 5}),
    host(400, "autoremove", AutoRemove=True, RestartPolicy={"Name": "always"}),
    host(400, "capab", CapAdd=["NET_NOSUCH"]),
    host(400, "security-opt", SecurityOpt=["colour=red"], theirs=500, why=SLOPPY),
    host(400, "ipc mode", IpcMode="somewhere", theirs=201, why=LATER),
    host(400, "pid mode", PidMode="somewhere", theirs=201, why=LATER),
    host(400, "uts mode", UTSMode="somewhere", theirs=201, why=LATER),
    host(400, "shm size", ShmSize=-1),
    host(400, "volume specification", Binds=["a:b:c:d"], theirs=500, why=SLOPPY),
    host(400, "mount path must be absolute", Binds=["named:relative"], theirs=500, why=SLOPPY),
    host(400, "invalid mode", Binds=["named:/there:sometimes"], theirs=500, why=SLOPPY),
    host(400, "duplicate mount point", Binds=["a1:/there", "b1:/there"]),
    host(400, "source path does not exist", Mounts=[{"Type": "bind", "Source": "/absent", "Target": "/there"}]),
    host(400, "target must not be empty", Mounts=[{"Type": "volume", "Source": "some"}]),
    host(400, "bad format for add-host", ExtraHosts=["nonsense"]),
    host(400, "dns", Dns=["nonsense"], theirs=201, why=STRICT),
    host(400, "no such container: absent", NetworkMode="container:absent", theirs=201, why=LATER),
    host(400, "no such container: absent", VolumesFrom=["absent"]),
    host(400, "runtime", Runtime="no such"),
    host(400, "oom", OomScoreAdj=5000),
    host(400, "cgroup", CgroupnsMode="somewhere"),
    get("/exec/absent/json", 404, "no such exec instance"),
    post("/exec/absent/start", 404, "no such exec instance", {}),
    post("/exec/absent/resize?h=1&w=1", 404, "no such exec instance"),
    get("/images/absent/json", 404, "no such image: absent:latest"),
    get("/images/absent/history", 404, "no such image: absent:latest"),
    get("/images/absent/get", 404, "no such image: absent"),
    post("/images/absent/tag?repo=x", 404, "no such image: absent:latest"),
    post(f"/images/{IMAGE}/tag?repo=mine@sha256:{'0' * 64}", 400, "digest reference"),
    post(f"/images/{IMAGE}/tag?repo=UPPER", 400, "invalid reference format", theirs=500, why=SLOPPY),
    post("/images/create", 400, "", theirs=500, why=SLOPPY),
    Wrong("DELETE", "/images/absent", 404, "no such image: absent:latest"),
    Wrong("DELETE", f"/images/{IMAGE}", 409, "unable to remove"),
    get("/volumes/absent", 404, "no such volume"),
    Wrong("DELETE", "/volumes/absent", 404, "no such volume"),
    Wrong("DELETE", "/volumes/used", 409, "volume is in use"),
    post("/volumes/create", 400, "are allowed", {"Name": "a b"}),
    post("/volumes/create", 400, "", {"Name": 5}),
    get("/containers/runs/nosuch", 501, "not in this version", theirs=404, why="no list of all routes is kept"),
]


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[Engine, Engine]]:
    """Both with a container that runs, one that is paused, and one that has ended."""

    def prepare(engine: Engine) -> None:
        for name, command in (("runs", ["sleep", "600"]), ("sleeps", ["sleep", "600"]), ("ended", ["true"])):
            body = {"Image": IMAGE, "Cmd": command, "HostConfig": {"Binds": ["used:/data"]}}
            for method, target, content in (
                ("POST", f"{CREATE}?name={name}", body),
                ("POST", f"/containers/{name}/start", None),
            ):
                answer = engine.ask(method, target, content)
                assert answer.status < 300, answer
        assert engine.ask("POST", "/containers/sleeps/pause").status == 204
        assert engine.ask("POST", "/containers/ended/wait").body["StatusCode"] == 0

    with twins("wrong") as made, ThreadPoolExecutor() as pool:
        list(pool.map(prepare, made))
        yield made


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.method} {wrong.target} {wrong.body or ''}"[:100])
def test_wrong_requests_are_refused_as_dockerd_does(engines: tuple[Engine, Engine], wrong: Wrong) -> None:
    theirs, ours = (engine.ask(wrong.method, wrong.target, wrong.body) for engine in engines)
    for engine, answer in zip(engines, (theirs, ours), strict=True):
        if answer.status == 201 and "Id" in answer.body:
            engine.ask("DELETE", f"/containers/{answer.body['Id']}?v=1")
    assert (theirs.status, ours.status) == (wrong.theirs or wrong.status, wrong.status), (theirs.body, ours.body)
    if wrong.theirs not in (0, wrong.status):
        assert wrong.why
    if ours.status >= 400:
        assert wrong.sense in said(ours)
    if theirs.status >= 400 and not wrong.theirs:
        assert wrong.sense in said(theirs)


def said(answer: Answer) -> str:
    # Where it would have carried streams, dockerd refuses in plain text.
    return (answer.body if isinstance(answer.body, str) else answer.message).lower()

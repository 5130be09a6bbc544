"""Each of a container's options, seen from inside."""

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.errors import InvalidRequest, NotFound, WrongState
from atoll.model.container import (
    ContainerRequest,
    Device,
    HostConfig,
    Limits,
    Mount,
    MountKind,
    Sharing,
    SharingKind,
    Ulimit,
)
from atoll.runtime.bundle.capabilities import ALL, DEFAULT
from atoll.runtime.confined import read_in_root
from atoll.runtime.runtime import Runtime
from atoll.runtime.supervise.logs import LogQuery
from tests.support.runtimes import Bench, ended, run, wanted

Scene = Callable[[Runtime], Awaitable[None]]


def play(place: Bench, scene: Scene) -> None:
    async def whole() -> None:
        async with place.runtime() as runtime:
            await scene(runtime)
            for container in runtime.containers.all():
                await runtime.containers.remove(container.id, force=True, volumes=True)
            place.assert_nothing_left()

    asyncio.run(whole())


def output(place: Bench, request: ContainerRequest, *, code: int = 0) -> str:
    """What one container writes."""
    found: list[str] = []

    async def scene(runtime: Runtime) -> None:
        status, out, err = await run(runtime, request)
        assert status == code, (out, err)
        found.append(out + err)

    play(place, scene)
    return found[0]


def shell(script: str, host: HostConfig | None = None, **config: object) -> ContainerRequest:
    return wanted("sh", "-c", script, host=host, **config)


def capabilities(place: Bench, host: HostConfig, **config: object) -> tuple[int, int]:
    """Effective and bounding."""
    status = output(place, wanted("cat", "/proc/self/status", host=host, **config))
    values = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith("Cap"))
    return int(values["CapEff"], 16), int(values["CapBnd"], 16)


def mask(names: tuple[str, ...]) -> int:
    return sum(1 << ALL.index(name) for name in names)


def test_capabilities_are_dockers(place: Bench) -> None:
    assert capabilities(place, HostConfig()) == (mask(DEFAULT), mask(DEFAULT)) == (0xA80425FB,) * 2


def test_capabilities_are_added_and_dropped(place: Bench) -> None:
    host = HostConfig(cap_add=("net_admin", "CAP_SYS_TIME"), cap_drop=("MKNOD",))
    expected = mask(DEFAULT) | mask(("CAP_NET_ADMIN", "CAP_SYS_TIME")) & ~0
    expected &= ~mask(("CAP_MKNOD",))
    assert capabilities(place, host) == (expected, expected)
    only = HostConfig(cap_drop=("ALL",), cap_add=("CHOWN",))
    assert capabilities(place, only) == (mask(("CAP_CHOWN",)),) * 2


def test_others_than_root_hold_no_capability(place: Bench) -> None:
    assert capabilities(place, HostConfig(), user="www-data") == (0, mask(DEFAULT))


def test_privileged_container_has_all_and_the_devices(place: Bench) -> None:
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    script = "grep -E 'CapEff|Seccomp:' /proc/self/status; ls /dev; mkdir /tmp/m && mount -t tmpfs x /tmp/m"
    out = output(place, shell(script, HostConfig(privileged=True)))
    assert f"CapEff:\t{own.split()[1]}" in out and "Seccomp:\t0" in out
    for name in ("kmsg", "loop-control"):
        assert (name in out.split()) is Path("/dev", name).exists()


def test_seccomp_profile_is_in_force(place: Bench) -> None:
    # ADDR_NO_RANDOMIZE takes no capability, and the default profile doesn't let it through. Busybox can't ask for it.
    ask = "import ctypes; print(ctypes.CDLL(None).personality(0x40000) >= 0)"
    script = f"grep Seccomp: /proc/self/status; /usr/bin/python3 -I -c '{ask}'"
    mounts = tuple(Mount(MountKind.BIND, path, path, read_only=True) for path in ("/usr", "/lib", "/lib64"))
    assert output(place, shell(script, HostConfig(mounts=mounts))) == "Seccomp:\t2\nFalse\n"
    unconfined = HostConfig(mounts=mounts, seccomp="unconfined")
    assert output(place, shell(script, unconfined)) == "Seccomp:\t0\nTrue\n"
    own = json.dumps(
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}
    )
    assert "not permitted" in output(place, shell("mkdir /x", HostConfig(seccomp=own)), code=1)


def test_kernels_files_are_masked_and_read_only(place: Bench) -> None:
    script = "head -c1 /proc/kcore | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/panic; touch /sys/x"
    out = output(place, shell(script), code=1)
    assert out.startswith("0\n0\n") and out.count("Read-only file system") == 2


def test_no_new_privileges(place: Bench) -> None:
    assert "NoNewPrivs:\t1" in output(
        place, wanted("cat", "/proc/self/status", host=HostConfig(no_new_privileges=True))
    )
    assert "NoNewPrivs:\t0" in output(place, wanted("cat", "/proc/self/status"))


@pytest.mark.parametrize(
    ("user", "group_add", "shown"),
    [
        ("", (), "uid=0(root) gid=0(root) groups=0(root),10(wheel)"),
        ("www-data", (), "uid=33(www-data) gid=33(www-data) groups=33(www-data)"),
        ("1234", (), "uid=1234 gid=0(root) groups=0(root)"),
        ("1234:www-data", ("5", "disk"), "uid=1234 gid=33(www-data) groups=5(tty),6(disk),33(www-data)"),
    ],
)
def test_user(place: Bench, user: str, group_add: tuple[str, ...], shown: str) -> None:
    out = output(place, wanted("id", user=user, host=HostConfig(group_add=group_add))).strip()
    head, _, groups = out.partition(" groups=")
    expected_head, _, expected_groups = shown.partition(" groups=")
    assert head == expected_head and set(groups.split(",")) == set(expected_groups.split(","))


def test_user_that_is_not_there(place: Bench) -> None:
    async def scene(runtime: Runtime) -> None:
        await runtime.containers.create(wanted("true", user="nosuch"), name="x")
        with pytest.raises(InvalidRequest, match="unable to find user nosuch: no matching entries in passwd file"):
            await runtime.containers.start("x")

    play(place, scene)


def test_users_are_not_read_from_the_host_by_a_link(place: Bench) -> None:
    async def scene(runtime: Runtime) -> None:
        proc = "/proc/1/" + "root"
        script = f"rm /etc/passwd; ln -s {'../' * 9}etc/debian_version /etc/passwd; ln -sf {proc}/etc/group /etc/group"
        assert (await run(runtime, shell(script), name="x"))[0] == 0
        upper = runtime.places.kept(runtime.containers.find("x").id) / "upper"
        assert (upper / "etc" / "passwd").is_symlink() and Path("/etc/debian_version").exists()
        assert read_in_root(upper, "etc/passwd") == "" and read_in_root(upper, "/etc/group") == ""

    play(place, scene)


def test_environment_workdir_and_hostname(place: Bench) -> None:
    script = "echo $A-$HOSTNAME-$HOME-$PATH; pwd; hostname"
    out = output(place, shell(script, env=("A=x y",), workdir="/made/now", hostname="web"))
    assert out == "x y-web-/root-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/made/now\nweb\n"


def test_read_only_root_with_a_tmpfs(place: Bench) -> None:
    mounts = (Mount(MountKind.TMPFS, "/run/x", size_bytes=1 << 20, mode=0o700),)
    script = "touch /file; stat -c %a /run/x; df -k /run/x | tail -1; head -c 2000000 /dev/zero > /run/x/big"
    out = output(place, shell(script, HostConfig(readonly_rootfs=True, mounts=mounts)), code=1)
    assert "/file: Read-only file system" in out and "700\n" in out and " 1024 " in out


def test_binds_are_mounted_and_read_only_when_asked(place: Bench, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("host\n")
    mounts = (
        Mount(MountKind.BIND, "/rw", str(tmp_path)),
        Mount(MountKind.BIND, "/ro", str(tmp_path), read_only=True),
        Mount(MountKind.BIND, "/fresh", str(tmp_path / "made"), make_source=True),
    )
    out = output(place, shell("cat /ro/in; echo out > /rw/out; touch /ro/x", HostConfig(mounts=mounts)), code=1)
    assert out.startswith("host\n") and "Read-only file system" in out
    assert (tmp_path / "out").read_text() == "out\n" and (tmp_path / "made").is_dir()


def test_bind_without_a_source_is_refused(place: Bench, tmp_path: Path) -> None:
    async def scene(runtime: Runtime) -> None:
        for source, told in ((str(tmp_path / "none"), "does not exist"), ("relative", "has to be absolute")):
            mounts = (Mount(MountKind.BIND, "/x", source),)
            with pytest.raises(InvalidRequest, match=told):
                name = f"x{len(source)}"
                await runtime.containers.create(wanted("true", host=HostConfig(mounts=mounts)), name=name)
                await runtime.containers.start(name)

    play(place, scene)


def test_mount_below_a_link_of_the_image_stays_inside(place: Bench, tmp_path: Path) -> None:
    """A container that replaced a mount's place by a link to the host's paths gets it inside its own root."""
    (tmp_path / "outside").mkdir()
    mounts = (Mount(MountKind.TMPFS, "/door/x"),)

    async def scene(runtime: Runtime) -> None:
        request = shell(f"[ -e /door ] || ln -s {'../' * 12}{tmp_path}/outside /door", HostConfig())
        assert (await run(runtime, request, name="x"))[0] == 0
        entry = runtime.containers.entry("x")
        entry.container = replace(entry.container, mounts=mounts)
        await runtime.containers.start("x")
        await ended(runtime, "x")
        assert list((tmp_path / "outside").iterdir()) == []

    play(place, scene)


def test_named_volume_begins_with_the_image_and_outlives_containers(place: Bench) -> None:
    mounts = (Mount(MountKind.VOLUME, "/etc", "settings"),)

    async def scene(runtime: Runtime) -> None:
        host = HostConfig(mounts=mounts)
        code, out, _ = await run(runtime, shell("cat /etc/shells; echo mine > /etc/mine", host), name="a")
        assert (code, out) == (0, "/bin/sh\n")
        assert (await run(runtime, shell("cat /etc/mine", host), name="b"))[1] == "mine\n"
        with pytest.raises(WrongState, match="volume is in use"):
            await runtime.volumes.remove("settings", users=runtime.users_of_volume("settings"))
        for name in ("a", "b"):
            await runtime.containers.remove(name, volumes=True)
        assert (runtime.volumes.find("settings").path / "mine").read_text() == "mine\n"
        await runtime.volumes.remove("settings", users=())
        with pytest.raises(NotFound, match="no such volume"):
            runtime.volumes.find("settings")

    play(place, scene)


def test_anonymous_volumes_go_with_their_container(place: Bench) -> None:
    async def scene(runtime: Runtime) -> None:
        request = shell("mount | grep ' /data '; stat -c %a /tmp/", volumes=("/data", "/tmp"))
        _, out, _ = await run(runtime, request, name="x")
        assert " on /data " in out and out.endswith("1777\n")
        assert len(runtime.volumes.list()) == 2 and all(volume.anonymous for volume in runtime.volumes.list())
        await runtime.containers.remove("x", volumes=True)
        assert runtime.volumes.list() == ()

    play(place, scene)


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", ".", ""])
def test_volume_of_another_place_is_refused(place: Bench, name: str) -> None:
    async def scene(runtime: Runtime) -> None:
        with pytest.raises(InvalidRequest):
            runtime.volumes.create(name)

    play(place, scene)


def test_memory_limit_kills_and_says_so(place: Bench) -> None:
    async def scene(runtime: Runtime) -> None:
        limits = Limits(memory_bytes=16 << 20)
        await run(runtime, shell("tail /dev/zero", HostConfig(limits=limits)), name="x")
        record = await ended(runtime, "x")
        assert (record.exit_code, record.oom_killed) == (137, True)

    play(place, scene)


def test_limits_are_the_kernels(place: Bench) -> None:
    limits = Limits(memory_bytes=64 << 20, nano_cpus=500_000_000, pids_max=11, cpu_shares=512, cpuset_cpus="0")
    ulimits = (Ulimit("nofile", 100, 200), Ulimit("core", -1, -1))

    async def scene(runtime: Runtime) -> None:
        await runtime.containers.create(wanted("sleep", "600", host=HostConfig(limits=limits)), name="x")
        await runtime.containers.start("x")
        await runtime.containers.update("x", limits=Limits(memory_bytes=32 << 20, pids_max=22))
        container_id = runtime.containers.find("x").id
        group = Path("/sys/fs/cgroup/pids/atoll") / container_id
        assert (group / "pids.max").read_text() == "22\n"

    script = (
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes "
        "cpu/cpu.cfs_quota_us cpu/cpu.shares pids/pids.max cpuset/cpuset.cpus; ulimit -n; ulimit -Hn; ulimit -c"
    )
    out = output(place, shell(script, HostConfig(limits=limits, ulimits=ulimits)))
    assert out.split() == [str(64 << 20), str(128 << 20), "50000", "512", "11", "0", "100", "200", "unlimited"]
    play(place, scene)


def test_stop_signal_that_is_none_is_refused_before_it_is_needed(place: Bench) -> None:
    async def scene(runtime: Runtime) -> None:
        with pytest.raises(InvalidRequest, match="invalid signal"):
            await runtime.containers.create(wanted("true", stop_signal="SIGNONE"), name="x")

    play(place, scene)


def test_init_reaps_and_passes_signals_on(place: Bench) -> None:
    async def scene(runtime: Runtime) -> None:
        await runtime.containers.create(wanted("sleep", "600", host=HostConfig(init=True)), name="x")
        await runtime.containers.start("x")
        # Without an init, the first process of a namespace gets no signal that it does not handle.
        await runtime.containers.stop("x", timeout_s=8)
        assert (await ended(runtime, "x")).exit_code == 143

    play(place, scene)


def test_sysctls_and_shm(place: Bench) -> None:
    sysctls = {"net.ipv4.ip_unprivileged_port_start": "77", "kernel.msgmax": "9000"}
    script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax; df -k /dev/shm | tail -1"
    out = output(place, shell(script, HostConfig(sysctls=sysctls, shm_bytes=3 << 20)))
    assert out.startswith("77\n9000\n") and " 3072 " in out

    async def scene(runtime: Runtime) -> None:
        await runtime.containers.create(wanted("true", host=HostConfig(sysctls={"kernel.panic": "1"})), name="x")
        with pytest.raises(InvalidRequest, match="whole host's"):
            await runtime.containers.start("x")

    play(place, scene)


def test_devices(place: Bench) -> None:
    script = "head -c1 /dev/mine >/dev/null && echo read; mknod /tmp/full c 1 7; mknod /tmp/kmsg c 1 11; cat /tmp/kmsg"
    out = output(place, shell(script, HostConfig(devices=(Device("/dev/urandom", "/dev/mine"),))), code=1)
    assert "read\n" in out and "Operation not permitted" in out


def test_containers_share_namespaces(place: Bench) -> None:
    async def scene(runtime: Runtime) -> None:
        await runtime.containers.create(wanted("sleep", "600", hostname="donor"), name="donor")
        await runtime.containers.start("donor")
        donor = runtime.containers.find("donor")
        joined = Sharing(SharingKind.CONTAINER, donor.id)
        script = (
            "hostname; ps | grep -c '[s]leep 600'; echo shared > /dev/shm/x; "
            "for n in ipc pid uts; do readlink /proc/self/ns/$n; done"
        )
        host = HostConfig(ipc=joined, pid=joined, uts=joined)
        code, out, err = await run(runtime, shell(script, host))
        assert code == 0, err
        expected = [str(Path(f"/proc/{donor.pid}/ns/{kind}").readlink()) for kind in ("ipc", "pid", "uts")]
        assert out.split() == ["donor", "1", *expected]
        assert (runtime.places.bundle(donor.id) / "shm" / "x").read_text() == "shared\n"
        await runtime.containers.stop("donor", timeout_s=0)
        await runtime.containers.create(shell("true", host), name="late")
        with pytest.raises(WrongState, match="it is not running"):
            await runtime.containers.start("late")

    play(place, scene)


def test_private_ipc_is_not_joined(place: Bench) -> None:
    async def scene(runtime: Runtime) -> None:
        host = HostConfig(ipc=Sharing(SharingKind.PRIVATE))
        await runtime.containers.create(wanted("sleep", "600", host=host), name="donor")
        await runtime.containers.start("donor")
        joined = Sharing(SharingKind.CONTAINER, "donor")
        await runtime.containers.create(wanted("true", host=HostConfig(ipc=joined)), name="x")
        with pytest.raises(WrongState, match="cannot join IPC"):
            await runtime.containers.start("x")

    play(place, scene)


def test_hosts_namespaces(place: Bench) -> None:
    shared = Sharing(SharingKind.HOST)
    out = output(
        place,
        shell(
            "for n in ipc pid uts; do readlink /proc/self/ns/$n; done", HostConfig(ipc=shared, pid=shared, uts=shared)
        ),
    )
    assert out.split() == [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("ipc", "pid", "uts")]


def test_user_namespace_has_other_ids(place: Bench) -> None:
    script = "id -u; cat /proc/self/uid_map; touch /mine /etc/mine && stat -c %u /mine /bin/busybox; sleep 0.5"

    async def scene(runtime: Runtime) -> None:
        code, out, err = await run(runtime, shell(script, HostConfig(userns="private")), name="x")
        assert code == 0, err
        assert out.split() == ["0", "0", "1895825408", "65536", "0", "0"]
        upper = runtime.places.kept(runtime.containers.find("x").id) / "upper"
        assert (upper / "mine").stat().st_uid == 1895825408

    play(place, scene)


def test_log_stays_below_its_limit(place: Bench) -> None:
    async def scene(runtime: Runtime) -> None:
        script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"
        await run(runtime, shell(script, HostConfig(log_max_bytes=20_000)), name="x")
        path = runtime.places.log(runtime.containers.find("x").id)
        assert 0 < path.stat().st_size <= 20_000
        lines = [line.content async for line in runtime.logs("x", LogQuery(tail=1))]
        assert lines == [b"line 2999\n"]

    play(place, scene)


def test_processes_are_listed(place: Bench) -> None:
    async def scene(runtime: Runtime) -> None:
        await runtime.containers.create(shell("sleep 600 & sleep 601; :"), name="x")
        await runtime.containers.start("x")
        await asyncio.sleep(0.2)
        pids = await runtime.containers.processes("x")
        shown = subprocess.run(
            ["ps", "-o", "args=", *map(str, pids)], capture_output=True, text=True, check=True
        ).stdout
        assert len(pids) == 3 and "sleep 600" in shown and "sleep 601" in shown

    play(place, scene)

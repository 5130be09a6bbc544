"""Images come from archives, layouts, trees and registries, run, and go again."""

import asyncio
import itertools
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from atoll.errors import InvalidRequest, NotFound, StoreCorrupt, Unavailable, WrongState
from atoll.model.container import ContainerConfig, ContainerRequest
from atoll.model.image import Image
from atoll.model.reference import parse_reference
from atoll.runtime.images.bootstrap import bootstrap
from atoll.runtime.images.load import import_root, load
from atoll.runtime.images.pull import pull
from atoll.runtime.images.store import ImageStore
from atoll.runtime.runtime import Runtime
from atoll.runtime.supervise.mounts import mount_root, unmount_below
from tests.support.hosts import FreshHost
from tests.support.images import command, make_layout, registry
from tests.support.runtimes import Bench, run, wanted


def silent(layer: str, status: str) -> None:
    pass


def opened(directory: Path) -> ImageStore:
    numbers = itertools.count()
    images = ImageStore(directory / "images", new_name=lambda: str(next(numbers)))
    images.load()
    return images


def layers_of(images: ImageStore) -> set[str]:
    return {path.name for path in images.layers.directory.iterdir()}


async def run_image(runtime: Runtime, image: Image) -> str:
    code, out, err = await run(runtime, ContainerRequest(ContainerConfig(image.id)))
    assert code == 0, err
    return out


def in_runtime(place: Bench, scene: Callable[[Runtime], Awaitable[None]]) -> None:
    async def play() -> None:
        async with place.runtime() as runtime:
            await scene(runtime)

    asyncio.run(play())


def test_bootstrap_makes_the_same_image_each_time(tmp_path: Path) -> None:
    images = opened(tmp_path)
    made = asyncio.run(bootstrap(images))
    assert asyncio.run(bootstrap(images)) == made
    assert asyncio.run(bootstrap(opened(tmp_path / "other"))).id == made.id
    assert made.tags == ("busybox:latest",)
    again = opened(tmp_path)
    assert again.find("busybox") == again.find(made.id) == again.find(f"sha256:{made.id}") == again.find(made.id[:7])
    assert again.images() == (made,)
    assert made.size_bytes > 500_000


def test_busybox_has_what_is_needed(place: Bench) -> None:
    async def scene(runtime: Runtime) -> None:
        for applet in ("sh", "httpd", "wget", "ping", "ip", "nslookup", "nc"):
            assert (await run(runtime, wanted("which", applet)))[0] == 0, applet
        assert (await run(runtime, wanted("id", "www-data")))[1].startswith("uid=33(www-data) gid=33(www-data)")

    in_runtime(place, scene)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci"])
def test_archive_of_an_image_is_loaded_and_runs(place: Bench, tmp_path: Path, form: str) -> None:
    layout = make_layout(tmp_path, "one")
    archive = tmp_path / "with:colon.tar"
    if form == "docker-archive":
        command("skopeo", "--insecure-policy", "copy", f"oci:{layout}:one", f"docker-archive:{tmp_path}/a:team/app:one")
        (tmp_path / "a").rename(archive)
    elif form == "oci-archive":
        command("tar", "-C", layout, "-czf", archive, ".")
    else:
        archive = layout

    async def scene(runtime: Runtime) -> None:
        told: list[tuple[str, str]] = []
        (image,) = await load(runtime.images, archive, tell=lambda layer, status: told.append((layer, status)))
        assert image.tags == (("team/app:one",) if form == "docker-archive" else ("one:latest",))
        assert image.config.exposed_ports == ("80/tcp",)
        assert await run_image(runtime, image) == "one\nhostname\nhosts\nresolv.conf\ntag\n"
        assert len({layer for layer, status in told if status == "Pull complete"}) == len(image.layers)

    in_runtime(place, scene)


def test_several_images_of_one_archive_share_layers(tmp_path: Path) -> None:
    layout = make_layout(tmp_path, "one", "two")
    command("tar", "-C", layout, "-cf", tmp_path / "a.tar", ".")
    images = opened(tmp_path)
    one, two = asyncio.run(load(images, tmp_path / "a.tar", tell=silent))
    assert {one.tags, two.tags} == {("one:latest",), ("two:latest",)}
    assert set(one.layers) & set(two.layers)
    assert layers_of(images) == {layer[:32] for layer in (*one.layers, *two.layers)}
    asyncio.run(images.remove("one", users={}))
    assert layers_of(images) == {layer[:32] for layer in two.layers}
    assert asyncio.run(images.remove("two", users={}))[1] == [two.id]
    assert layers_of(images) == set()


def test_tree_is_imported(place: Bench, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    command("cp", "/bin/busybox", tmp_path / "bin" / "busybox")
    command("tar", "-C", tmp_path, "-czf", tmp_path / "root.tar.gz", "bin")

    async def scene(runtime: Runtime) -> None:
        config = {"Cmd": ["/bin/busybox", "echo", "imported"], "Env": ["A=1"]}
        name = parse_reference("mine:1")
        image = await import_root(runtime.images, tmp_path / "root.tar.gz", name=name, now_ns=10**18, config=config)
        assert (image.tags, image.created_ns, image.config.env) == (("mine:1",), 10**18, ("A=1",))
        assert await run_image(runtime, image) == "imported\n"

    in_runtime(place, scene)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 1000], ids=["empty", "nonsense"])
def test_archive_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    images = opened(tmp_path)
    with pytest.raises(InvalidRequest):
        asyncio.run(load(images, tmp_path / "a.tar", tell=silent))
    assert images.images() == () and layers_of(images) == set()


@pytest.mark.parametrize(
    "manifest",
    [
        "{}",
        "[1]",
        "[" * 100_000,
        '[{"Config": "../../etc/passwd", "RepoTags": ["a:b"], "Layers": []}]',
        '[{"Config": "c.json", "RepoTags": ["UPPER:b"], "Layers": []}]',
        '[{"Config": "c.json", "RepoTags": [], "Layers": ["../../../../etc/passwd"]}]',
    ],
)
def test_archive_with_a_hostile_manifest_is_refused(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    (tmp_path / "c.json").write_text('{"rootfs": {"type": "layers", "diff_ids": []}}')
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("manifest.json", "c.json"):
            archive.add(tmp_path / name, name)
    images = opened(tmp_path)
    with pytest.raises((InvalidRequest, NotFound)):
        asyncio.run(load(images, tmp_path / "a.tar", tell=silent))
    assert images.images() == () and layers_of(images) == set()


def test_image_is_pulled_by_tag_and_digest(place: Bench, tmp_path: Path, host: FreshHost) -> None:
    layout = make_layout(tmp_path, "one")

    async def scene(runtime: Runtime) -> None:
        reference = parse_reference(f"{address}/team/app:1")
        image, digest = await pull(runtime.images, reference, tell=silent)
        assert image.tags == (f"{address}/team/app:1",)
        assert image.digests == (f"{address}/team/app@{digest}",)
        assert await run_image(runtime, image) == "one\nhostname\nhosts\nresolv.conf\ntag\n"
        again, _ = await pull(runtime.images, parse_reference(f"{address}/team/app@{digest}"), tell=silent)
        assert again == image
        with pytest.raises(NotFound, match="manifest unknown"):
            await pull(runtime.images, parse_reference(f"{address}/team/app:2"), tell=silent)

    with registry(tmp_path) as address:
        push = ("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false")
        command(*push, f"oci:{layout}:one", f"docker://{address}/team/app:1")
        in_runtime(place, scene)

    images = opened(tmp_path)
    with pytest.raises(Unavailable, match="cannot reach the registry"):
        asyncio.run(pull(images, parse_reference(f"{address}/team/app:1"), tell=silent))
    assert layers_of(images) == set()


def test_names_come_and_go(tmp_path: Path) -> None:
    images = opened(tmp_path)
    made = asyncio.run(bootstrap(images))
    images.name(made.id, parse_reference("team/box:1"), parse_reference("localhost:5000/box"))
    assert images.find("team/box:1").tags == ("busybox:latest", "team/box:1", "localhost:5000/box:latest")
    with pytest.raises(WrongState, match="several names"):
        asyncio.run(images.remove(made.id[:12], users={}))
    assert asyncio.run(images.remove("team/box:1", users={made.id: "web"})) == (["team/box:1"], [])
    assert asyncio.run(images.remove("localhost:5000/box", users={})) == (["localhost:5000/box:latest"], [])
    with pytest.raises(WrongState, match="used by container web"):
        asyncio.run(images.remove("busybox", users={made.id: "web"}))
    assert opened(tmp_path).find("busybox").id == made.id
    assert asyncio.run(images.remove("busybox", users={})) == (["busybox:latest"], [made.id])
    with pytest.raises(NotFound, match="No such image: busybox:latest"):
        opened(tmp_path).find("busybox")
    assert layers_of(images) == set()


def test_image_of_many_layers_and_of_none_can_be_mounted(tmp_path: Path) -> None:
    names = [f"{number:032x}/d" for number in range(110)]
    for name in names:
        (tmp_path / "layers" / name).mkdir(parents=True)
    (tmp_path / "layers" / names[3] / "file").write_text("low")
    (tmp_path / "layers" / names[100] / "file").write_text("high")
    for kept, some in (("a" * 64, names), ("b" * 64, [])):
        target = tmp_path / f"root{kept[0]}"
        asyncio.run(mount_root(tmp_path / "layers", some, tmp_path / "containers" / kept, target))
        try:
            (target / "own").touch()
            assert (tmp_path / "containers" / kept / "upper" / "own").exists()
            assert not some or (target / "file").read_text() == "high"
        finally:
            asyncio.run(unmount_below(target))
        assert list(target.iterdir()) == []
    with pytest.raises(InvalidRequest, match="more than can be mounted"):
        asyncio.run(mount_root(tmp_path / "layers", names * 3, tmp_path / "c", tmp_path / "x"))


def test_config_that_was_changed_is_not_taken(tmp_path: Path) -> None:
    images = opened(tmp_path)
    made = asyncio.run(bootstrap(images))
    (tmp_path / "images" / "config" / made.id).write_bytes(made.raw + b" ")
    with pytest.raises(StoreCorrupt, match=made.id):
        opened(tmp_path)


def test_what_was_half_unpacked_is_removed(tmp_path: Path) -> None:
    images = opened(tmp_path)
    (images.layers.directory / "tmp-x" / "d").mkdir(parents=True)
    assert layers_of(opened(tmp_path)) == set()

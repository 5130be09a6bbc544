"""Archives of everything that a tar can say: unpacked inside or refused, by image and by container."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import tries
from tests.fuzz.junk import values
from tests.fuzz.target import RUNS, STAYS, Target, quoted

NAMES = (
    "a", "b", "d", "d/a", "d/b/c", "./a", "/a", "..", "../a", "../../../../../../tmp/fuzz-escaped",
    "/tmp/fuzz-escaped", ".", "",
    "/", "a/", "x" * 300, "n/" * 1200 + "x", "a\nb", "é", "\udcff", ".wh.a", ".wh..wh..opq", ".wh..", ".wh.", "d/.wh.b",
    "proc/self/mem", "etc/passwd", "bin/sh", "link/a", "link/link/a", "dev/null", ".wh..wh.plnk/1",
)  # fmt: skip
TARGETS = (
    "a",
    "d",
    "..",
    "/",
    "/tmp",
    "../../../../..",
    "/proc/self/root",
    "link",
    "nosuch",
    "",
    "x" * 5000,
    "/dev/null",
)
KINDS = (
    tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.FIFOTYPE, tarfile.CONTTYPE, b"Z", tarfile.GNUTYPE_SPARSE,
)  # fmt: skip
PAX = {
    "size": ("-1", "0", "99999999999999999999", "x", "5"), "mtime": ("-1e400", "nan", "inf", "1e30", "x", "-5"),
    "uid": ("-1", "4294967296", "x", "99999999999999999999999"),
    "path": ("", "\0", "../../../tmp/fuzz-escaped", "p" * 5000),
    "linkpath": ("\0", "/"), "GNU.sparse.major": ("1", "x"), "GNU.sparse.minor": ("0",),
    "GNU.sparse.map": ("0,5,-1,9", "x", "1"),
    "GNU.sparse.size": ("99999999999999", "-1"), "GNU.sparse.realsize": ("9223372036854775807", "-1"),
    "GNU.sparse.name": ("",),
    "GNU.sparse.numblocks": ("999999999", "-1"), "SCHILY.xattr.user.x": ("y", "\0", "z" * 70_000),
    "SCHILY.xattr.security.capability": ("nonsense", ""), "SCHILY.xattr.trusted.overlay.redirect": ("/",),
    "hdrcharset": ("x",),
}  # fmt: skip
DOCUMENTS = ("manifest.json", "index.json", "oci-layout", "./manifest.json")
TEXTS = (
    "[]", "{}", "null", "[{}]", "[" * 100_000, '[{"Config":"c.json","RepoTags":["x:1"],"Layers":["l.tar"]}]', "[1]",
    '{"manifests":5}',
    '[{"Config":"../../etc/passwd","RepoTags":null,"Layers":[]}]', '[{"RepoTags":["UPPER"]}]', '[{"RepoTags":5}]',
    '[{"RepoTags":"x"}]',
    '{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"../x"}}]}', '{"manifests":[{"annotations":5}]}',
    '{"imageLayoutVersion":"1.0.0"}', '{"manifests":[5]}', '{"manifests":[{},{}]}', '\udcff',
    "[" + "{}," * 2000 + "{}]",
)  # fmt: skip
CONFIG = ("architecture", "os", "created", "author", "history", "config", "rootfs", "comment", "variant", "odd")
INNER = (
    "User",
    "Env",
    "Cmd",
    "Entrypoint",
    "Labels",
    "ExposedPorts",
    "Volumes",
    "WorkingDir",
    "StopSignal",
    "Shell",
    "Healthcheck",
    "OnBuild",
)
COMPRESSORS: tuple[Callable[[bytes], bytes], ...] = (bytes, gzip.compress, bz2.compress, lzma.compress)

headers = st.sampled_from(sorted(PAX)).flatmap(lambda key: st.tuples(st.just(key), st.sampled_from(PAX[key])))
members = st.lists(
    st.tuples(
        st.sampled_from(NAMES), st.sampled_from(KINDS), st.sampled_from(TARGETS), st.binary(max_size=600),
        st.sampled_from([0, 0o777, 0o4755, 0o7777777]), st.sampled_from([0, 1000, 2**31, 2**32 - 1, 2**40]),
        st.lists(headers, max_size=2),
    ),
    max_size=6,
)  # fmt: skip
damage = st.none() | st.tuples(st.floats(0, 1), st.binary(max_size=8)) | st.floats(0, 1)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    made = io.BytesIO()
    form = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    with tarfile.open(fileobj=made, mode="w", format=form, errors="surrogateescape") as tar:
        for name, kind, link, content, mode, owner, more in draw(members):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode, info.uid, info.gid = kind, link, mode, owner, owner
            info.size = len(content) if kind in (tarfile.REGTYPE, tarfile.CONTTYPE, b"Z") else 0
            info.devmajor, info.devminor, info.pax_headers = 1, 1, dict(more)
            tar.addfile(info, io.BytesIO(content) if info.size else None)
        for name, text in draw(st.lists(st.tuples(st.sampled_from(DOCUMENTS), st.sampled_from(TEXTS)), max_size=2)):
            content = text.encode(errors="surrogateescape")
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return damaged(draw(st.sampled_from(COMPRESSORS))(damaged(made.getvalue(), draw(damage))), draw(damage))


def damaged(content: bytes, how: tuple[float, bytes] | float | None) -> bytes:
    """Cut off at a place, or overwritten there."""
    if isinstance(how, tuple):
        place = int(how[0] * len(content))
        return content[:place] + how[1] + content[place + len(how[1]) :]
    return content if how is None else content[: int(how * len(content))]


@tries(12)
@given(content=archives())
def test_images(target: Target, content: bytes) -> None:
    for path in ("/images/create?fromSrc=-&repo=fresh", "/images/load"):
        before = target.there()
        answer = target.ask("POST", path, raw=content, headers={"Content-Type": "application/x-tar"})
        assert not Path("/tmp/fuzz-escaped").exists()
        if answer.status >= 300:
            assert target.there() == before
        for image in target.host.must("GET", "/images/json"):
            target.host.must("GET", f"/images/{image['Id']}/json")
        target.remove_everything()
        assert target.there() == before


@tries(4)
@given(
    config=st.dictionaries(st.sampled_from(CONFIG), values, max_size=3),
    inner=st.dictionaries(st.sampled_from(INNER), values, max_size=3),
    raw=st.sampled_from([b"", b'"\\ud800"', b"1" + b"0" * 30, b"1e999", b"NaN"]),
)
def test_configs(target: Target, config: dict[str, Any], inner: dict[str, Any], raw: bytes) -> None:
    """Images that skopeo takes, whose configs say odd things: what is loaded can be shown, by list and alone."""
    before = target.there()
    layer = tar_of({"file": b"content"})
    digest = hashlib.sha256(layer).hexdigest()
    document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}
    text = json.dumps({**document, "config": inner, **config, "odd": 0}).encode()
    text = text.replace(b'"odd": 0', b'"odd": ' + raw) if raw else text
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["fresh:1"], "Layers": ["l.tar"]}]).encode()
    content = tar_of({"manifest.json": manifest, "c.json": text, "l.tar": layer})
    answer = target.ask("POST", "/images/load", raw=content, headers={"Content-Type": "application/x-tar"})
    if answer.status >= 300:
        assert target.there() == before
    else:
        target.there()
        if target.ask("GET", "/images/fresh:1/json").status == 200:
            made = target.ask("POST", "/containers/create", {"Image": "fresh:1"})
            if made.status == 201:
                target.host.must("GET", f"/containers/{made.body['Id']}/json")
    target.remove_everything()
    assert target.there() == before


def tar_of(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


@tries(12)
@given(
    content=archives(),
    name=st.sampled_from([STAYS, RUNS]),
    path=st.sampled_from(["/", "/tmp", "/nosuch", "/proc/self/root", "/bin/sh", "/tmp/link", "/tmp/d"]),
)
def test_containers(target: Target, content: bytes, name: str, path: str) -> None:
    before = target.there()
    where = f"/containers/{name}/archive?path={quoted(path)}"
    target.ask("PUT", where, raw=content, headers={"Content-Type": "application/x-tar"})
    assert not Path("/tmp/fuzz-escaped").exists()
    assert target.there() == before
    # However deep, and whatever it is: what is there can be seen and given back, or refused.
    assert target.ask("HEAD", where).status < 500


@pytest.mark.parametrize("kind", ["sparse", "name"])
def test_small_archives_that_say_they_are_huge(target: Target, kind: str) -> None:
    before = target.there()
    resident = target.resident_bytes()
    answer = target.ask(
        "POST", "/images/create?fromSrc=-&repo=huge", raw=HUGE[kind](), headers={"Content-Type": "application/x-tar"}
    )
    assert answer.status in (200, 400), answer
    used = sum(path.lstat().st_blocks * 512 for path in (target.host.state / "images" / "layers").rglob("*"))
    assert used < 64 << 20
    assert target.resident_bytes() - resident < 16 << 20
    target.remove_everything()
    assert target.there() == before


def sparse() -> bytes:
    """A file of a tebibyte, of which a block is there."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("sparse")
        info.size, info.pax_headers = 5, {"GNU.sparse.map": f"{(1 << 40) - 5},5", "GNU.sparse.size": str(1 << 40)}
        tar.addfile(info, io.BytesIO(b"there"))
    return made.getvalue()


def named() -> bytes:
    """A name of two gibibytes, which compressed are two mebibytes."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2 << 30
    # Compressed parts one after another are one stream.
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(b"n" * (1 << 20)) * (2 << 10)


HUGE = {"sparse": sparse, "name": named}


def test_documents_are_few(target: Target) -> None:
    """More images in one archive than are taken."""
    content = tar_of({"manifest.json": json.dumps([{"Config": "c", "RepoTags": None, "Layers": []}] * 1001).encode()})
    answer = target.ask("POST", "/images/load", raw=content, headers={"Content-Type": "application/x-tar"})
    assert answer.status == 400 and "1001" in answer.message


def test_tree_that_is_deeper_than_a_stack(target: Target) -> None:
    """A container that a program digs in, and that is removed all the same."""
    dig = "i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done"
    made = target.host.must("POST", "/containers/create?name=deep", {"Image": "busybox", "Cmd": ["sh", "-c", dig]})[
        "Id"
    ]
    target.host.must("POST", f"/containers/{made}/start")
    assert target.host.must("POST", f"/containers/{made}/wait")["StatusCode"] == 0
    assert target.ask("DELETE", f"/containers/{made}").status == 204
    assert made not in target.there()

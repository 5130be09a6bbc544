"""Archives from anywhere are unpacked inside, or refused."""

import asyncio
import contextlib
import gzip
import io
import os
import stat
import tarfile
import time
from pathlib import Path

import pytest

from atoll.errors import AtollError, InvalidRequest
from atoll.runtime.images.layers import Layers
from atoll.runtime.images.load import load
from atoll.runtime.images.store import ImageStore
from atoll.runtime.trees import remove_tree


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"", **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(content), 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def unpack(directory: Path, content: bytes) -> Path:
    """The root of a layer made of the archive."""
    layers = Layers(directory / "layers", new_name=lambda: "1")
    layers.prepare()
    path = directory / "archive"
    path.write_bytes(content)
    try:
        with path.open("rb") as file:
            return layers.path(asyncio.run(layers.add(file)))
    finally:
        assert not list(layers.directory.glob("tmp-*"))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that an archive may try to change, with a file in it."""
    made = tmp_path / "outside"
    made.mkdir()
    (made / "file").write_text("mine")
    return made


def assert_untouched(outside: Path) -> None:
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "mine"
    assert (outside / "file").stat().st_nlink == 1


def test_files_keep_what_they_are(tmp_path: Path) -> None:
    root = unpack(
        tmp_path,
        archive(
            member("etc/", tarfile.DIRTYPE, mode=0o750, uid=5, gid=6, mtime=1000),
            member("etc/file", content=b"text", mode=0o4755, uid=7, gid=8, mtime=2000),
            member("etc/hard", tarfile.LNKTYPE, "etc/file"),
            member("etc/soft", tarfile.SYMTYPE, "/etc/file"),
            member("pipe", tarfile.FIFOTYPE),
            member("made/on/the/way", content=b"x"),
        ),
    )
    found = (root / "etc/file").stat()
    assert (found.st_mode, found.st_uid, found.st_gid, found.st_mtime, found.st_nlink) == (
        stat.S_IFREG | 0o4755, 7, 8, 2000, 2,
    )  # fmt: skip
    directory = (root / "etc").stat()
    assert (stat.S_IMODE(directory.st_mode), directory.st_uid, directory.st_mtime) == (0o750, 5, 1000)
    assert (root / "etc/soft").readlink() == Path("/etc/file")
    assert stat.S_ISFIFO((root / "pipe").stat().st_mode)
    assert (root / "made/on/the/way").read_text() == "x"
    assert {stat.S_IMODE((root / above).stat().st_mode) for above in ("made", "made/on", "made/on/the")} == {0o755}


def test_compressed_archive_is_the_same_layer(tmp_path: Path) -> None:
    plain = archive(member("file", content=b"x" * 100_000))
    root = unpack(tmp_path, plain)
    assert unpack(tmp_path, gzip.compress(plain)) == root
    assert len(list((tmp_path / "layers").iterdir())) == 1


def test_whiteouts_become_those_of_overlayfs(tmp_path: Path) -> None:
    root = unpack(
        tmp_path, archive(member("etc/.wh.gone"), member("var/", tarfile.DIRTYPE), member("var/.wh..wh..opq"))
    )
    gone = (root / "etc/gone").stat()
    assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
    assert os.getxattr(root / "var", "trusted.overlay.opaque") == b"y"


@pytest.mark.parametrize("name", ["../outside/new", "../../../../../../../../tmp/new-by-atoll", "/new", "a/../../new"])
def test_path_upwards_stays_inside(tmp_path: Path, outside: Path, name: str) -> None:
    root = unpack(tmp_path, archive(member(name, content=b"evil")))
    assert len([path for path in root.rglob("*") if path.is_file()]) == 1
    assert not Path("/tmp/new-by-atoll").exists()
    assert_untouched(outside)


@pytest.mark.parametrize("form", ["{outside}", "../../../outside", "../../../../../../../../../../..{outside}"])
def test_symbolic_link_leads_nowhere_outside(tmp_path: Path, outside: Path, form: str) -> None:
    content = archive(
        member("door", tarfile.SYMTYPE, form.format(outside=outside)), member("door/new", content=b"evil")
    )
    with contextlib.suppress(AtollError):
        unpack(tmp_path, content)
    assert_untouched(outside)


def test_link_is_replaced_and_not_written_through(tmp_path: Path, outside: Path) -> None:
    root = unpack(
        tmp_path,
        archive(member("file", tarfile.SYMTYPE, str(outside / "file")), member("file", content=b"evil")),
    )
    assert not (root / "file").is_symlink()
    assert_untouched(outside)


@pytest.mark.parametrize("form", ["{outside}/file", "../../../outside/file", "../outside/file"])
def test_hard_link_to_the_outside_is_refused(tmp_path: Path, outside: Path, form: str) -> None:
    with pytest.raises(InvalidRequest, match="hard link"):
        unpack(tmp_path, archive(member("mine", tarfile.LNKTYPE, form.format(outside=outside))))
    assert_untouched(outside)


def test_hard_link_to_a_symbolic_link_does_not_follow_it(tmp_path: Path, outside: Path) -> None:
    root = unpack(
        tmp_path,
        archive(
            member("door", tarfile.SYMTYPE, str(outside / "file")),
            member("hard", tarfile.LNKTYPE, "door"),
            member("hard", content=b"evil"),
        ),
    )
    assert (root / "hard").read_bytes() == b"evil"
    assert_untouched(outside)


def test_devices_are_left_out(tmp_path: Path) -> None:
    root = unpack(
        tmp_path,
        archive(
            member("dev/sda", tarfile.BLKTYPE, devmajor=8, devminor=0),
            member("dev/mem", tarfile.CHRTYPE, devmajor=1, devminor=1),
        ),
    )
    assert list((root / "dev").iterdir()) == []


def test_attributes_of_overlayfs_are_not_taken(tmp_path: Path) -> None:
    info, content = member("dir", tarfile.DIRTYPE)
    info.pax_headers = {"SCHILY.xattr.trusted.overlay.redirect": "/outside", "SCHILY.xattr.user.mine": "yes"}
    root = unpack(tmp_path, archive((info, content)))
    assert os.listxattr(root / "dir") == ["user.mine"]


@pytest.mark.parametrize("name", [".wh...", ".wh..", "a/.wh...", ".wh."])
def test_whiteout_of_a_directory_above_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest):
        unpack(tmp_path, archive(member("a/file", content=b"x"), member(name)))


@pytest.mark.parametrize(
    "content",
    [
        b"not an archive at all" * 100,
        gzip.compress(b"x" * 5000)[:-20],
        archive(member("file", content=b"x" * 5000))[:2000],
        b"\xfd7zXZ\x00 no xz",
        b"BZh9 no bzip2",
    ],
    ids=["text", "cut gzip", "cut tar", "xz", "bzip2"],
)
def test_nonsense_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidRequest, match="cannot unpack"):
        unpack(tmp_path, content)


def test_layer_of_other_content_is_refused(tmp_path: Path) -> None:
    layers = Layers(tmp_path, new_name=lambda: "1")
    layers.prepare()
    path = tmp_path / "archive"
    path.write_bytes(archive(member("file")))
    with pytest.raises(InvalidRequest, match="other content"), path.open("rb") as file:
        asyncio.run(layers.add(file, "ab" * 32))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("depth", [1000, 2000])
def test_deep_paths_are_made_or_refused(tmp_path: Path, depth: int) -> None:
    content = archive(member("d/" * depth + "file", content=b"x"), member("d", content=b"instead"))
    root = unpack(tmp_path, content)
    assert (root / "d").read_bytes() == b"instead"
    with contextlib.suppress(InvalidRequest):
        unpack(tmp_path, archive(member("d/" * depth * 2 + "file", content=b"x")))
    # pytest could not.
    remove_tree(tmp_path / "layers")


def test_holes_stay_holes(tmp_path: Path) -> None:
    info, content = member("sparse", content=b"there")
    info.pax_headers = {"GNU.sparse.map": f"{(1 << 40) - 5},5", "GNU.sparse.size": str(1 << 40)}
    root = unpack(tmp_path, archive((info, content)))
    found = (root / "sparse").stat()
    assert found.st_size == 1 << 40
    assert found.st_blocks * 512 < 1 << 20
    with (root / "sparse").open("rb") as file:
        file.seek(-7, os.SEEK_END)
        assert file.read() == b"\0\0there"


@pytest.mark.parametrize("owner", [2**32, 2**40])
def test_owners_that_nobody_can_be_are_refused(tmp_path: Path, owner: int) -> None:
    with pytest.raises(InvalidRequest, match="cannot unpack the archive: "):
        unpack(tmp_path, archive(member("file", uid=owner)))


def endless(name: str) -> bytes:
    """A member that is said to be longer than any archive, and isn't unpacked."""
    info, content = member(name)
    info.pax_headers = {"size": str(10**20)}
    return archive((info, content))


def test_what_is_passed_over_has_an_end(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(InvalidRequest, match="ends before"):
        unpack(tmp_path, endless(".wh.gone"))
    images = ImageStore(tmp_path / "images", new_name=lambda: "1")
    images.load()
    (tmp_path / "archive").write_bytes(endless("other"))
    with pytest.raises(InvalidRequest, match="ends before"):
        asyncio.run(load(images, tmp_path / "archive", tell=lambda digest, status: None))
    assert time.monotonic() - begun < 10

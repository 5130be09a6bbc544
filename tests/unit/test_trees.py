"""Trees of any depth are walked and taken away, and nothing beside them."""

import os
from pathlib import Path

import pytest

from atoll.runtime.trees import discard_tree, remove_tree, walk_tree


def dig(directory: Path, depth: int) -> None:
    """Directories in each other, deeper than a path can be long; each has a file."""
    here = os.open(directory, os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        below = os.open("d", os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


@pytest.mark.parametrize("depth", [0, 1, 5000])
def test_tree_of_any_depth_is_removed(tmp_path: Path, depth: int) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    dig(tree, depth)
    remove_tree(tree)
    assert list(tmp_path.iterdir()) == []


def test_many_beside_each_other_are_removed(tmp_path: Path) -> None:
    for name in ("a/b/c", "a/b2/c", "x/gone-0/y", "gone-1/z/z", "gone-2"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "file").touch()
    (tmp_path / "tree/x/gone-3").touch()
    remove_tree(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (tmp_path / "tree/in").mkdir(parents=True)
    for link in ("tree/link", "tree/in/link"):
        (tmp_path / link).symlink_to(tmp_path / "outside")
    remove_tree(tmp_path / "tree")
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["file"]
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError):
        remove_tree(tmp_path / "link")
    assert (tmp_path / "outside/file").exists()


def test_what_is_not_there_is_no_error_and_what_is_no_directory_is_one(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        remove_tree(tmp_path / "file")
    discard_tree(tmp_path / "file")
    assert (tmp_path / "file").exists()


def test_walk_names_each_before_what_is_below(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").touch()
    (tmp_path / "a/link").symlink_to(tmp_path)
    found = list(walk_tree(tmp_path))
    assert len(found) == 5
    assert all(found.index(path.parent) < found.index(path) for path in found[1:])

"""Trees of files that a container or an archive made: of any depth, with links to anywhere.

Law: no recursion, as a tree may be deeper than Python's stack; removing goes by descriptors and follows no link.
"""

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def remove_tree(directory: Path) -> None:
    """Remove a directory with all that is in it; one that isn't there is no error.

    What is mounted below stays, and so does what can't be removed. Raises the first OSError, once the rest is gone.
    """
    try:
        top = os.open(directory, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        errors = _empty(top)
    finally:
        os.close(top)
    try:
        directory.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise (errors[0] if errors else error) from None


def discard_tree(directory: Path) -> None:
    """Remove a directory as far as that goes: for what the next start takes up again."""
    with contextlib.suppress(OSError):
        remove_tree(directory)


def walk_tree(directory: Path) -> Iterator[Path]:
    """The directory and all that is in it, each before what is below it. Raises OSError."""
    waiting = [directory]
    while waiting:
        path = waiting.pop()
        yield path
        if path.is_dir() and not path.is_symlink():
            waiting.extend(path.iterdir())


def _empty(top: int) -> list[OSError]:
    """Remove what is in a directory. Directories are moved up beside each other, so that no path gets long."""
    errors: list[OSError] = []
    stuck: set[str] = set()
    numbers = itertools.count()
    _sweep(top, top, numbers, errors)
    while names := [name for name in os.listdir(top) if name not in stuck]:
        for name in names:
            try:
                inner = os.open(name, _DIRECTORY, dir_fd=top)
                try:
                    _sweep(inner, top, numbers, errors)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
            except OSError as error:
                errors.append(error)
                stuck.add(name)
    return errors


def _sweep(directory: int, top: int, numbers: Iterator[int], errors: list[OSError]) -> None:
    """Unlink the files of a directory, and move its directories to `top` unless it is that itself."""
    with os.scandir(directory) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_directory in entries:
        try:
            if not is_directory:
                os.unlink(name, dir_fd=directory)
            elif directory != top:
                _move_up(name, directory, top, numbers)
        except OSError as error:
            errors.append(error)


def _move_up(name: str, directory: int, top: int, numbers: Iterator[int]) -> None:
    try:
        # Most are empty, or soon are.
        os.rmdir(name, dir_fd=directory)
        return
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
    while True:
        try:
            os.rename(name, f"gone-{next(numbers)}", src_dir_fd=directory, dst_dir_fd=top)
            return
        except OSError as error:
            if error.errno not in _TAKEN:
                raise

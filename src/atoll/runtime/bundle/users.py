"""Users and groups of a container by its own /etc/passwd and /etc/group. Law: pure. Source: passwd(5), group(5)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from atoll.errors import InvalidRequest

ID_MAX = (1 << 31) - 1
"""Docker's limit: ids are signed there."""


@dataclass(frozen=True, slots=True)
class User:
    """Who a process is. `groups` are all, each once; `home` is "/" where nothing tells."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def parse_user(text: str, *, passwd: str, group: str, group_add: Iterable[str] = ()) -> User:
    """The user that `NAME|UID[:GROUP|GID]` means; "" is root.

    A name has to be in the files, a number needn't. Without a group it is the user's, with all that the files add.
    Raises InvalidRequest in Docker's words.
    """
    user_text, colon, group_text = text.partition(":")
    name, uid, gid, home = _user(user_text or "0", passwd)
    groups: list[int] = []
    if colon and group_text:
        gid = _group(group_text, group)
    elif name:
        groups = [number for number, members in _members(group) if name in members]
    groups += [_group(extra, group) for extra in group_add]
    # With its own group, so that a set-gid program can't shed it to pass a rule against that group.
    return User(uid, gid, tuple(dict.fromkeys((gid, *groups))), home)


def _user(text: str, passwd: str) -> tuple[str, int, int, str]:
    """Name ("" when not told), uid, gid, home."""
    number = _id(text)
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2].isdecimal() and fields[3].isdecimal():
            name, uid, gid = fields[0], int(fields[2]), int(fields[3])
            if name == text or uid == number:
                return name, uid, gid, fields[5] or "/"
    if number is None:
        raise InvalidRequest(f"unable to find user {text}: no matching entries in passwd file")
    return "", number, 0, "/"


def _group(text: str, group: str) -> int:
    number = _id(text)
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[0] == text and fields[2].isdecimal():
            return int(fields[2])
    if number is None:
        raise InvalidRequest(f"unable to find group {text}: no matching entries in group file")
    return number


def _members(group: str) -> Iterator[tuple[int, list[str]]]:
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdecimal():
            yield int(fields[2]), fields[3].split(",")


def _id(text: str) -> int | None:
    if not (text.isascii() and text.isdecimal()):
        return None
    if len(text) > 10 or int(text) > ID_MAX:
        raise InvalidRequest(f"invalid id {text[:40]}: uids and gids must be in range 0-{ID_MAX}")
    return int(text)

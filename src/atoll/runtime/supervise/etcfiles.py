"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container. Law: but for `write`, pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

TARGETS = ("hosts", "hostname", "resolv.conf")
"""Below /etc, and below a container's directory."""

_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


@dataclass(frozen=True, slots=True)
class EtcFiles:
    """`hosts` are addresses, each with its names; the others are what they are in resolv.conf(5)."""

    hostname: str
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def hosts(entries: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Text of /etc/hosts: loopback, then the entries in their order."""
    return _HOSTS + "".join(f"{address}\t{' '.join(names)}\n" for address, names in entries)


def resolv_conf(nameservers: Iterable[str], search: Sequence[str], options: Sequence[str]) -> str:
    """Text of /etc/resolv.conf."""
    lines = [f"nameserver {address}" for address in nameservers]
    if search:
        lines.append(f"search {' '.join(search)}")
    if options:
        lines.append(f"options {' '.join(options)}")
    return "".join(f"{line}\n" for line in lines)


def write(directory: Path, files: EtcFiles) -> None:
    """Write the three files. Effects: one that is there keeps its inode, so that the container sees the change."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    texts = {
        "hosts": hosts(files.hosts),
        "hostname": f"{files.hostname}\n",
        "resolv.conf": resolv_conf(files.nameservers, files.search, files.options),
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o644)

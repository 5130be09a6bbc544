"""What `atoll run` and `atoll create` take: Docker's flags, one line each."""

from __future__ import annotations

import argparse

from atoll.cli.command import Command

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_TEXTS = (
    ("--name", "NAME", "the container's name"),
    ("-h --hostname", "NAME", "the host name inside"),
    ("--domainname", "NAME", "the NIS domain name inside"),
    ("-u --user", "USER", "name or id, with :GROUP"),
    ("-w --workdir", "DIR", "directory that it begins in"),
    ("--ip", "ADDRESS", "IPv4 address"),
    ("--ip6", "ADDRESS", "IPv6 address"),
    ("--mac-address", "MAC", "MAC address"),
    ("--join", "CONTAINER", "share its network, IPC and UTS namespaces"),
    ("--ipc", "MODE", "none, private, shareable, host or container:NAME"),
    ("--pid", "MODE", "host or container:NAME"),
    ("--uts", "MODE", "host or container:NAME"),
    ("--userns", "MODE", "host, or private for ids that are nobody's on this host"),
    ("--cgroupns", "MODE", "host or private"),
    ("--cgroup-parent", "PATH", "cgroup that its own is made in"),
    ("-m --memory", "BYTES", "memory limit, 64m"),
    ("--memory-reservation", "BYTES", "memory that it keeps when memory is short"),
    ("--memory-swap", "BYTES", "memory and swap together, -1 for no limit of swap"),
    ("--cpus", "NUMBER", "processors' worth of time, 1.5"),
    ("-c --cpu-shares", "N", "share of processors that are busy (1024)"),
    ("--cpu-period", "US", "period of the scheduler"),
    ("--cpu-quota", "US", "time in a period"),
    ("--cpuset-cpus", "LIST", "processors, 0-2,4"),
    ("--cpuset-mems", "LIST", "memory nodes"),
    ("--pids-limit", "N", "processes, -1 for no limit"),
    ("--oom-score-adj", "N", "-1000 to 1000: who is killed first when memory is out"),
    ("--shm-size", "BYTES", "size of /dev/shm (64m)"),
    ("--restart", "POLICY", "no, always, unless-stopped or on-failure[:N]"),
    ("--stop-signal", "SIGNAL", "what asks it to end"),
    ("--stop-timeout", "SECONDS", "until it is killed (10)"),
    ("--health-cmd", "COMMAND", "shell command that tells whether it is well"),
    ("--health-interval", "TIME", "between two checks, 30s"),
    ("--health-timeout", "TIME", "how long a check may take, 30s"),
    ("--health-start-period", "TIME", "in which failures don't count"),
    ("--health-start-interval", "TIME", "between two checks in that period"),
    ("--health-retries", "N", "failures in a row that make it unhealthy (3)"),
    ("--runtime", "NAME", "OCI runtime (runc)"),
    ("--log-driver", "DRIVER", "json-file or local: both are atoll's own"),
    ("--volume-driver", "DRIVER", "local"),
    ("--platform", "OS/ARCH", "of the image that is pulled"),
    ("--cidfile", "FILE", "write the container's id to a file that is not there"),
)
_LISTS = (
    ("--network --net", "NETWORK", "a network, host, none or container:NAME; also name=N,alias=A,ip=ADDRESS"),
    ("--network-alias --net-alias", "NAME", "another name on the network"),
    ("-p --publish", "PORTS", "[[ADDRESS:]HOST:]CONTAINER[/PROTO]; ranges stay ranges"),
    ("--expose", "PORT[/PROTO]", "a port that -P publishes"),
    ("-e --env", "NAME=VALUE", "environment; a NAME alone has the value that it has here"),
    ("--env-file", "FILE", "environment, a line each"),
    ("-l --label", "KEY=VALUE", "label"),
    ("--label-file", "FILE", "labels, a line each"),
    ("-v --volume", "SOURCE:TARGET", "a directory or a volume, with :ro to read only"),
    ("--mount", "KEY=VALUE,...", "type=bind|volume|tmpfs,source=,target=,readonly"),
    ("--tmpfs", "TARGET", "a file system in memory, with :size=64m,mode=1777"),
    ("--volumes-from", "CONTAINER", "its volumes, with :ro to read only"),
    ("--device", "PATH", "a device of the host, /dev/fuse[:/dev/inside[:rwm]]"),
    ("--cap-add", "CAPABILITY", "a capability more, or ALL"),
    ("--cap-drop", "CAPABILITY", "a capability less, or ALL"),
    ("--security-opt", "KEY=VALUE", "no-new-privileges, seccomp=FILE|unconfined"),
    ("--group-add", "GROUP", "another group"),
    ("--ulimit", "NAME=SOFT[:HARD]", "a limit of getrlimit(2), nofile=1024:4096"),
    ("--sysctl", "KEY=VALUE", "a sysctl of its namespaces"),
    ("--add-host", "NAME:ADDRESS", "a name in /etc/hosts; host-gateway is this host"),
    ("--dns", "ADDRESS", "where names are asked for"),
    ("--dns-search", "DOMAIN", "domain that names are looked for in"),
    ("--dns-option --dns-opt", "OPTION", "option of resolv.conf(5)"),
    ("--log-opt", "KEY=VALUE", "max-size=10m keeps so much of the output"),
    ("--annotation", "KEY=VALUE", "told to the OCI runtime"),
    ("--link", "CONTAINER", "refused: containers of a network know each other's names"),
)
_FLAGS = (
    ("-i --interactive", "keep its input open, and join ours to it"),
    ("-t --tty", "give it a terminal"),
    ("--rm", "remove the container when it ends"),
    ("-P --publish-all", "publish every exposed port at a port that is free"),
    ("--read-only", "its root can't be written"),
    ("--privileged", "all capabilities and devices, nothing masked"),
    ("--init", "a first process that forwards signals and reaps"),
    ("--no-healthcheck", "without the image's health check"),
    ("--oom-kill-disable", "it waits when its memory is out"),
    ("-q --quiet", "no word about a pull"),
)


def add_container_options(command: Command) -> None:
    """Add all of them; what they mean is made a request by `container_body.py`."""
    for spelled, metavar, text in _TEXTS:
        command.add_argument(*spelled.split(), metavar=metavar, default="", help=text)
    for spelled, metavar, text in _LISTS:
        command.add_argument(*spelled.split(), action="append", default=[], metavar=metavar, help=text)
    for spelled, text in _FLAGS:
        command.add_argument(*spelled.split(), action="store_true", help=text)
    command.add_argument("--entrypoint", metavar="PROGRAM", help="in place of the image's, '' for none")
    command.add_argument(
        "-a", "--attach", action="append", default=[], choices=("stdin", "stdout", "stderr"), metavar="STREAM", help=_A
    )
    pull: dict[str, Any] = {"choices": ("always", "missing", "never"), "default": "missing"}
    command.add_argument("--pull", metavar="WHEN", help="always, missing or never (missing)", **pull)
    command.add_argument("--disable-content-trust", action="store_true", help=argparse.SUPPRESS)
    command.add_argument("image", metavar="IMAGE", help="name or id of the image")
    command.add_argument(
        "argv", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command, by default the image's"
    )


_A = "join stdin, stdout or stderr alone (all)"

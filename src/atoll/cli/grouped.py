"""`atoll container`: the commands on containers by Docker's longer words."""

from __future__ import annotations

from atoll.cli import containers, inspecting, lifecycle, running, watching
from atoll.cli.command import Command
from atoll.cli.copying import add_cp
from atoll.cli.ports import add_port

_COMMANDS = (
    ("ls", containers.add_ps, "List containers."),
    ("run", running.add_run, "Run a command in a new container."),
    ("create", running.add_create, "Make a container that is started later."),
    ("start", running.add_start, "Start containers."),
    ("stop", lifecycle.add_stop, "Stop containers."),
    ("restart", lifecycle.add_restart, "Stop containers and start them again."),
    ("kill", lifecycle.add_kill, "Send a signal to containers."),
    ("pause", lifecycle.add_pause, "Freeze containers."),
    ("unpause", lifecycle.add_unpause, "Let frozen containers go on."),
    ("rm", lifecycle.add_rm, "Remove containers."),
    ("prune", lifecycle.add_prune, "Remove all containers that don't run."),
    ("exec", running.add_exec, "Run a command in a container that runs."),
    ("attach", running.add_attach, "Join our streams to those of a container that runs."),
    ("logs", containers.add_logs, "Show what a container has written."),
    ("cp", add_cp, "Copy files between a container and this host."),
    ("port", add_port, "Show the published ports."),
    ("stats", watching.add_stats, "Show what containers use, as it changes."),
    ("top", watching.add_top, "Show the processes of a container."),
    ("wait", lifecycle.add_wait, "Wait until containers end."),
    ("rename", lifecycle.add_rename, "Give a container another name."),
    ("update", lifecycle.add_update, "Change limits and restart policies."),
)


def add_container(group: Command) -> None:
    """Add the commands of the group."""
    group.examples = ("atoll container ls --all", "atoll container prune --force")
    for name, add, summary in _COMMANDS:
        command = group.command(name, summary)
        add(command)
        command.examples = tuple(line.replace("atoll ps", "atoll ls") for line in command.examples)
        command.examples = tuple(
            line if line.startswith("atoll container") else line.replace("atoll", "atoll container", 1)
            for line in command.examples
        )
    inspect = group.command("inspect", "Show all about containers.", examples=("atoll container inspect web",))
    inspecting.add_inspect_arguments(inspect, "CONTAINER", "container")

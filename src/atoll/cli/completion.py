"""`atoll completion`: the shells' scripts, and the words that they ask for.

A script is a few lines that call `atoll __complete WORD...`, so that every shell completes the
same, and names of networks and sandboxes are those of now.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

from atoll.cli.command import Command
from atoll.cli.http import Client
from atoll.cli.parser import build_parser, common, socket_path
from atoll.errors import AtollError

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

SCRIPTS = {
    "bash": """\
_atoll() {
    local IFS=$'\\n'
    COMPREPLY=($(atoll __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [ ${#COMPREPLY[@]} -gt 0 ] || compopt -o default
}
complete -F _atoll atoll
""",
    "zsh": """\
#compdef atoll
_atoll() {
    local -a found
    found=("${(@f)$(atoll __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [ -n "$found" ]; then compadd -a found; else _files; fi
}
# Loaded by itself on the first use, the file is the function; sourced, it only defines it.
if [ "$funcstack[1]" = _atoll ]; then _atoll "$@"; else compdef _atoll atoll; fi
""",
    "fish": """\
function __atoll_complete
    set -l words (commandline -opc) (commandline -ct)
    atoll __complete $words[2..-1] 2>/dev/null
end
complete -c atoll -f -a '(__atoll_complete)'
""",
}
_NAMES: dict[str, tuple[str, Callable[[Any], Iterable[str]]]] = {
    "NETWORK": ("/networks", lambda found: (each["Name"] for each in found)),
    "SANDBOX": ("/atoll/sandboxes", lambda found: (each["Name"] for each in found)),
    "CONTAINER": (
        "/containers/json",
        lambda found: (name.removeprefix("/") for each in found for name in each["Names"]),
    ),
    "IMAGE": ("/images/json", lambda found: (tag for each in found for tag in each["RepoTags"] or ())),
    "VOLUME": ("/volumes", lambda found: (each["Name"] for each in found["Volumes"])),
}
"""Route that lists what an argument with this metavar names, and the names in its answer."""


def add_completion(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = (
        "atoll completion bash >/etc/bash_completion.d/atoll",
        "atoll completion zsh >/usr/share/zsh/site-functions/_atoll",
        "atoll completion fish >~/.config/fish/completions/atoll.fish",
    )
    common(command)
    command.add_argument("shell", choices=sorted(SCRIPTS), metavar="SHELL", help="bash, zsh or fish")
    command.set_defaults(run=_completion)


def add_candidates(command: Command) -> None:
    """What the scripts call; not for people."""
    command.set_defaults(run=_candidates)


def _completion(args: argparse.Namespace, client: Client) -> int:
    print(SCRIPTS[args.shell], end="")
    return 0


def _candidates(args: argparse.Namespace, client: Client) -> int:
    for word in complete(args.rest, client):
        print(word)
    return 0


def complete(words: Sequence[str], client: Client) -> list[str]:
    """What may stand in place of the last of `words` (those after `atoll`), sorted. [] also when nothing is known."""
    *before, current = words or [""]
    command = build_parser().filled()
    socket = ""
    arguments: list[str] = []
    pending: argparse.Action | None = None
    for word in before:
        if pending is not None:
            socket = word if pending.dest == "socket" else socket
            pending = None
        elif word.startswith("-"):
            action = _option(command, word)
            pending = action if action is not None and action.nargs != 0 and "=" not in word else None
        elif word in command.commands:
            command = command.commands[word].filled()
        else:
            arguments.append(word)
    found: Sequence[str]
    if pending is not None:
        found = _values(pending, client, socket)
    elif current.startswith("-"):
        found = [option for action in command._get_optional_actions() for option in action.option_strings]
    elif command.commands:
        found = [] if arguments else [name for name in command.commands if not name.startswith("_")]
    else:
        found = _positional(command, len(arguments), client, socket)
    return sorted(word for word in found if word.startswith(current))


def _option(command: Command, word: str) -> argparse.Action | None:
    name = word.partition("=")[0]
    return next((action for action in command._get_optional_actions() if name in action.option_strings), None)


def _positional(command: Command, index: int, client: Client, socket: str) -> Sequence[str]:
    actions = command._get_positional_actions()
    if not actions:
        return []
    action = actions[min(index, len(actions) - 1)]
    if index >= len(actions) and action.nargs not in ("+", "*"):
        return []
    return _values(action, client, socket)


def _values(action: argparse.Action, client: Client, socket: str) -> Sequence[str]:
    if action.choices is not None:
        return list(action.choices)
    route = _NAMES.get(str(action.metavar).partition("[")[0])
    if route is None:
        return []
    path, names = route
    asked = Client(socket_path(argparse.Namespace(socket=socket))) if socket else client
    try:
        return list(names(asked.get(path, {"all": "1"} if path == "/containers/json" else None)))
    except AtollError:
        return []

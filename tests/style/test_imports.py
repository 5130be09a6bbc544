"""Imports between rooms go only the way that docs/architecture.md draws."""

import ast
import sys

import pytest

from tests.style.tree import imports_of, modules, room_of, tree_of

ALLOWED = {
    "": set(),
    "__main__": {"cli"},
    "errors": set(),
    "model": {"errors"},
    "plan": {"model", "errors"},
    "ipam": {"model", "errors"},
    "store": {"model", "errors"},
    "kernel": {"model", "errors"},
    "service": {"errors"},
    "relay": {"service", "model", "errors"},
    "dns": {"service", "model", "errors"},
    "doctor": {"model", "errors"},
    "runtime": {"model", "errors"},
    "engine": {"doctor", "plan", "ipam", "store", "kernel", "dns", "runtime", "model", "errors"},
    "api": {"doctor", "engine", "plan", "runtime", "model", "errors"},
    "cli": {"errors", "lab"},
    "lab": {"kernel", "errors"},
    "daemon": {"api", "engine", "plan", "ipam", "store", "kernel", "relay", "dns", "runtime", "service"}
    | {"model", "errors"},
}
"""Room: the rooms that it may import. Everybody may import its own, and the version in `atoll`."""

EXCEPTIONS = {"atoll.cli.daemon": {"atoll.daemon.main"}}
"""`atoll daemon` becomes the daemon: the import stands in that command alone."""

STDLIB_ONLY = {"errors", "model", "plan", "ipam", "doctor", "service", "relay", "dns", "cli", "lab"}
"""Rooms that use nothing installed: pure ones, and those whose start-up time is their cost."""

DRAWN_BY = {"atoll.cli.progress": {"rich"}}
"""Bars are drawn with what is imported when there is a terminal to draw on."""

KERNEL_NETNS = "atoll.kernel.netns"
"""All that `lab` may use of `kernel`: it makes hosts, and leaves networks to the daemons on them."""


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_go_one_way(module: str) -> None:
    room = room_of(module)
    assert room in ALLOWED, f"{module}: a new room; draw it in docs/architecture.md and name here what it may import"
    imported = imports_of(module) - EXCEPTIONS.get(module, set()) - {"atoll"}
    wrong = {name for name in imported if room_of(name) not in ALLOWED[room] | {room}}
    assert not wrong, f"{module} imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("module", sorted(name for name in modules() if room_of(name) in STDLIB_ONLY))
def test_imports_only_the_standard_library(module: str) -> None:
    for node in ast.walk(tree_of(modules()[module])):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        foreign = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"atoll"}
        foreign -= DRAWN_BY.get(module, set())
        assert not foreign, f"{module} imports {foreign}"


def test_lab_uses_only_namespaces_of_the_kernel() -> None:
    used = {name for module in modules() if room_of(module) == "lab" for name in imports_of(module)}
    assert {name for name in used if room_of(name) == "kernel"} <= {KERNEL_NETNS}


def test_command_line_loads_the_lab_only_for_the_demo() -> None:
    users = {module for module in modules() if room_of(module) == "cli" and "lab" in map(room_of, imports_of(module))}
    assert users <= {"atoll.cli.demo"}

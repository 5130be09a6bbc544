"""System calls about networking live in `kernel/`; other processes are started only where that is the job."""

import ast

import pytest

from tests.style.tree import modules, room_of, tree_of

BANNED = {
    "AF_NETLINK": {},
    "unshare": {},
    "setns": {"atoll.cli.enter": "`sandbox exec` has to become the command inside the namespace"},
    "subprocess": {
        "atoll.cli.daemon": "`up` starts the daemon",
        "atoll.kernel.diagnosis": "others' rules are read by their own programs, which may end in an abort",
        "atoll.lab": "hosts are made of namespaces with ordinary programs in them, as a person would",
        "atoll.runtime": "images and containers are made by programs of others",
        "atoll.service.client": "the daemon starts services, which have to outlive it",
    },
    "eval": {},
    "exec": {},
    "os.system": {},
    "os.popen": {},
    "create_subprocess_shell": {},
    "pickle": {},
    "mock": {},
}
"""Name: modules (or packages) that may use it, each with the reason."""

KERNEL_MAY = {"AF_NETLINK", "unshare", "setns"}

SLEEPERS = {
    "atoll.cli": "waits for a daemon that has no way to call back",
    "atoll.lab": "waits for programs that have no way to call back",
}


def _uses(module: str) -> set[str]:
    """Names, attributes (`os.system`), imports; strings and comments don't count."""
    used = set()
    for node in ast.walk(tree_of(modules()[module])):
        match node:
            case ast.Import(names):
                used.update(alias.name for alias in names)
            case ast.ImportFrom(module=str(source), names=names):
                used |= {source, *(alias.name for alias in names)}
            case ast.Name(id=name):
                used.add(name)
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                used |= {name, f"{owner}.{name}"}
            case ast.Attribute(attr=name):
                used.add(name)
    return used


def _within(module: str, packages: dict[str, str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("name", BANNED)
def test_banned_name_is_used_only_with_a_reason(name: str) -> None:
    users = {module for module in modules() if name in _uses(module)}
    if name in KERNEL_MAY:
        users = {module for module in users if room_of(module) != "kernel"}
    wrong = sorted(module for module in users if not _within(module, BANNED[name]))
    assert not wrong, f"{name} is used by {', '.join(wrong)}"


def test_no_program_is_started_by_a_shell() -> None:
    for module in modules():
        if _uses(module) & {"subprocess", "create_subprocess_exec"}:
            keywords = (node for node in ast.walk(tree_of(modules()[module])) if isinstance(node, ast.keyword))
            assert "shell" not in {keyword.arg for keyword in keywords}, module


def test_no_module_waits_by_the_clock_without_a_reason() -> None:
    users = {module for module in modules() if "time.sleep" in _uses(module)}
    wrong = sorted(module for module in users if not _within(module, SLEEPERS))
    assert not wrong, f"time.sleep is used by {', '.join(wrong)}"

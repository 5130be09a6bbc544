"""Everybody's packet filter rules, each read by the program of its tool.

In processes of their own: libnftables aborts on expressions that it doesn't know, and must not take the daemon
along; iptables-legacy's rules are told to its own program alone.
"""

import subprocess
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from atoll.kernel.diagnosis.iptables_listing import command_of, parse_save
from atoll.kernel.diagnosis.nft_listing import parse_listing
from atoll.model.firewall import TABLE
from atoll.model.ruleset import Chain, Ruleset, Tool

PROGRAM_TIMEOUT_S = 10
_OWN_TABLES = (("inet", TABLE), ("bridge", TABLE))
_LEGACY_TABLES = {"ip": Path("/proc/net/ip_tables_names"), "ip6": Path("/proc/net/ip6_tables_names")}
_SAVED_TABLES = frozenset({"raw", "mangle", "nat", "filter", "security"})
_BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})


class _Unread(Exception):
    """A program that could not be run, or failed; the message says which and why."""


def read_ruleset() -> Ruleset:
    """The rules of the calling process's network namespace, ours left out. Effects: none."""
    unread: list[str] = []
    chains = list(_attempt(unread, _nft_chains))
    for family in ("ip", "ip6"):
        if any(_is_of_iptables(chain, family) for chain in chains):
            saved = tuple(_attempt(unread, partial(_saved, Tool.IPTABLES, family)))
            if saved:
                # nft's JSON has no words for iptables' own matches, its own program does.
                chains = [chain for chain in chains if not _is_covered(chain, family)] + [*saved]
        if _text_of(_LEGACY_TABLES[family]).strip():
            chains += _attempt(unread, partial(_saved, Tool.LEGACY, family))
    return Ruleset(tuple(chains), tuple(unread))


def _attempt(unread: list[str], read: Callable[[], Iterable[Chain]]) -> Iterable[Chain]:
    try:
        return read()
    except _Unread as error:
        unread.append(str(error))
        return ()


def _nft_chains() -> tuple[Chain, ...]:
    listing = _output("nft", "-j", "-t", "list", "ruleset")
    text = _output("nft", "-a", "-t", "list", "ruleset")
    try:
        return parse_listing(listing, text, without=_OWN_TABLES)
    except ValueError as error:
        raise _Unread(f"nft -j list ruleset: {error}") from error


def _saved(tool: Tool, family: str) -> tuple[Chain, ...]:
    program = command_of(tool, family)
    try:
        return parse_save(_output(f"{program}-save"), tool, family)
    except ValueError as error:
        raise _Unread(f"{program}-save: {error}") from error


def _is_of_iptables(chain: Chain, family: str) -> bool:
    return _is_covered(chain, family) and chain.name in _BUILT_IN


def _is_covered(chain: Chain, family: str) -> bool:
    return chain.family == family and chain.table in _SAVED_TABLES


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _output(program: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROGRAM_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise _Unread(f"{program} is not installed") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Unread(f"{program}: {error}") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise _Unread(f"{program} ended with {done.returncode}: {said[-1] if said else 'no message'}")
    return done.stdout

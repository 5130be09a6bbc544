"""Commands that change something: send, or show what would be done; ask first; go through several names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping

from atoll.cli.http import ANSWER_TIMEOUT_S, Client
from atoll.cli.render import paint, print_steps, report, warn
from atoll.errors import AtollError, InvalidRequest

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any


def change(
    client: Client,
    args: argparse.Namespace,
    method: str,
    path: str,
    body: Any = None,
    query: Mapping[str, str] | None = None,
    *,
    timeout_s: float | None = ANSWER_TIMEOUT_S,
) -> Any:
    """Send a changing request and return its answer; in a dry run print the steps and return None.

    `timeout_s` None waits as long as it takes. Warnings of the answer go to stderr.
    """
    query = dict(query or {})
    if args.dry_run:
        query["dry-run"] = "1"
    answer = client.request(method, path, body, query, timeout_s=timeout_s)
    told = answer if isinstance(answer, dict) else {}
    warnings = [*(told.get("Warnings") or ()), told.get("Warning") or ""]
    for warning in warnings:
        if warning:
            warn(warning)
    if not args.dry_run:
        return answer
    print_steps(told.get("Steps") or ())
    return None


def each(names: Iterable[str], act: Callable[[str], None], *, verbose: bool) -> int:
    """Act on every name, report each that fails, and return the exit status: 1 if any failed.

    Raises Unavailable at once when there is no daemon: the other names would fare no better.
    """
    failed = False
    for name in names:
        try:
            act(name)
        except AtollError as error:
            if not hasattr(error, "status"):
                raise
            report(error, verbose=verbose)
            failed = True
    return int(failed)


def confirm(question: str, command: str) -> bool:
    """Ask on the terminal; only y and yes mean yes. Raises InvalidRequest when nobody can answer."""
    if not sys.stdin.isatty():
        raise InvalidRequest("cannot ask whether to go on: stdin is not a terminal", hint=f"{command} --force")
    print(paint(question, "bold", sys.stderr), "[y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def key_values(what: str, texts: Iterable[str]) -> dict[str, str]:
    """Parse `KEY=VALUE` words; a word without `=` has the value "". Raises InvalidRequest for an empty key."""
    pairs = [text.partition("=") for text in texts]
    for key, _, value in pairs:
        if not key:
            raise InvalidRequest(f"invalid {what} {'=' + value!r}: the key is empty", hint="write it as KEY=VALUE")
    return {key: value for key, _, value in pairs}


def filters(texts: Iterable[str]) -> dict[str, str]:
    """The query of `--filter KEY=VALUE` words, several values of a key collected. Raises InvalidRequest."""
    import json

    collected: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InvalidRequest(f"invalid filter {text!r}", hint="write it as --filter KEY=VALUE, e.g. driver=bridge")
        collected.setdefault(key.strip().lower(), []).append(value.strip())
    return {"filters": json.dumps(collected)} if collected else {}

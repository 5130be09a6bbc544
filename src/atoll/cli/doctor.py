"""`atoll doctor`: what on this host stands in the way of networks, and what to type."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from atoll.cli.command import Command
from atoll.cli.http import Client
from atoll.cli.parser import formatted
from atoll.cli.render import paint, print_objects, report
from atoll.errors import AtollError

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_WARNINGS, _ERRORS = 1, 2
"""Exit status by the worst finding; 0 when there is none, or nothing worse than notes."""
_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}


def add_doctor(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = (
        "atoll doctor",
        "atoll doctor --format '{{.Severity}} {{.Subject}}: {{.Found}}'",
        "atoll doctor >/dev/null || echo 'something stands in the way'",
    )
    formatted(command)
    command.set_defaults(run=_doctor)


def _doctor(args: argparse.Namespace, client: Client) -> int:
    """Exit status: 0 nothing worse than notes, 1 warnings, 2 errors, or no diagnosis at all."""
    try:
        findings = client.get("/atoll/doctor")["Findings"]
    except AtollError as error:
        report(error, verbose=args.verbose)
        return _ERRORS
    if args.format and args.format != "table":
        print_objects(findings, args.format)
    else:
        print("\n".join(_text(findings)))
    worst = {finding["Severity"] for finding in findings}
    return _ERRORS if "error" in worst else _WARNINGS if "warning" in worst else 0


def _text(findings: list[dict[str, Any]]) -> Iterator[str]:
    for finding in findings:
        severity = finding["Severity"]
        yield f"{paint(severity, _STYLES.get(severity, 'dim'))} {paint(finding['Kind'], 'bold')}: {finding['Found']}"
        yield f"  breaks: {finding['Breaks']}"
        for index, line in enumerate(finding["Remedy"]):
            yield f"  {'   ' if index else 'try'} {paint(line, 'cyan')}"
        yield ""
    yield _summary(findings)


def _summary(findings: list[dict[str, Any]]) -> str:
    counts = {word: sum(finding["Severity"] == word for finding in findings) for word in _STYLES}
    if not findings:
        return "nothing stands in the way"
    return ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for word, count in counts.items() if count)

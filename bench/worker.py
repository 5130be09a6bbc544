"""A program of ours inside a namespace, asked over its pipes, so that what is measured is measured there.

parent: {"call": "attach", "with": {"ports": []}}\\n   ->   worker: call it, answer its result as one line of JSON
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from atoll.lab.namespace import CommandFailed, Namespace

ROOT = Path(__file__).parents[1]


class Worker:
    """`python -m MODULE ARGUMENT...` inside `space`; the lab ends it at the latest."""

    def __init__(self, space: Namespace, module: str, *arguments: str) -> None:
        self._process = space.start([sys.executable, "-m", module, *arguments], cwd=ROOT)
        self._module = module

    def ask(self, call: str, **arguments: Any) -> Any:
        """What the worker's function of this name returns. Raises CommandFailed with what it said when it fails."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"call": call, "with": arguments}) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._process.kill()
            said = self._process.communicate()[1].strip()
            raise CommandFailed(f"{self._module} failed at {call}: {said}")
        return json.loads(answer)


def serve(calls: Mapping[str, Callable[..., Any]]) -> None:
    """Answer until there is nobody to ask."""
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(calls[asked["call"]](**asked["with"])), flush=True)

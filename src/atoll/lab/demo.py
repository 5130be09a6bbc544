"""`atoll demo`: play a scenario on hosts made of namespaces."""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from atoll.errors import AtollError, Forbidden, Unsupported
from atoll.lab.scenarios.docker_session import scenario as docker_session
from atoll.lab.scenarios.single_host import scenario as single_host
from atoll.lab.story import Story
from atoll.lab.topology import Lab

SCENARIOS: dict[str, Callable[[Lab, Story], None]] = {
    "single-host": single_host.play,
    "docker": docker_session.play,
}
_SCENARIO_HELP = "single-host: sandboxes by atoll's command (default); docker: containers by Docker's own command"
TOOLS = ("ip", "bridge", "nft", "nsenter", "tcpdump", "ping", "busybox")


def main(argv: Sequence[str] | None = None) -> int:
    """Play the scenario that the command line names; 0 when every step passed, 1 when one failed.

    Raises SystemExit 2 for an unusable command line, 130 and 143 when interrupted (all is cleaned up
    first); Forbidden without root; Unsupported where a tool is missing.
    """
    parser = argparse.ArgumentParser(
        prog="atoll demo",
        description="Show container networking, step by step, on hosts made of namespaces. Your network isn't touched.",
    )
    parser.add_argument("scenario", nargs="?", default="single-host", choices=sorted(SCENARIOS), help=_SCENARIO_HELP)
    arguments = parser.parse_args(argv)
    _require()
    previous = signal.signal(signal.SIGTERM, _leave)
    story = Story(sys.stdout)
    try:
        with Lab("demo") as lab:
            SCENARIOS[arguments.scenario](lab, story)
        story.close()
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0 if story.passed else 1


def _require() -> None:
    if os.geteuid() != 0:
        raise Forbidden("the demo makes network namespaces, which takes root", hint="sudo atoll demo")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = "iproute2 nftables util-linux tcpdump iputils-ping busybox-static"
        raise Unsupported(f"the demo needs {', '.join(missing)}", hint=f"apt-get install {packages}")


def _leave(number: int, _frame: FrameType | None) -> None:
    # Turned into an exception, so that the lab's own exit cleans up.
    raise SystemExit(128 + number)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AtollError as error:
        print(f"atoll: {error.message}\n  try: {error.hint}", file=sys.stderr)
        sys.exit(1)

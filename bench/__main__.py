"""`python -m bench [SUBJECT...]`: measure and print; `--write FILE` makes the page of all subjects. Needs root."""

import argparse
import compileall
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import atoll
from atoll.errors import AtollError
from bench import attach, cli, connect, flush, ports, restart, run, size, throughput
from bench.effort import FULL, QUICK, SMALLEST, Effort
from bench.machine import machine
from bench.report import limit_lines, page, section_text
from bench.section import Section

SUBJECTS: dict[str, Callable[[Effort], Section]] = {
    "attach": attach.measure,
    "ports": ports.measure,
    "peer-ports": ports.measure_peers,
    "connect": connect.measure,
    "throughput": throughput.measure,
    "size": size.measure,
    "restart": restart.measure,
    "flush": flush.measure,
    "cli": cli.measure,
    "run": run.measure,
}
EFFORTS = {effort.name: effort for effort in (FULL, QUICK, SMALLEST)}


def main() -> int:
    """Measure the subjects that the command line names, all by default. 0 even where a limit is not kept."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure atoll beside the floor and others.")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; all by default")
    parser.add_argument("--effort", choices=EFFORTS, default=QUICK.name, help="how often and how much (quick)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there, too")
    given = parser.parse_args()
    unknown = set(given.subjects) - SUBJECTS.keys()
    if unknown:
        parser.error(f"no subject {', '.join(sorted(unknown))}: there are {', '.join(SUBJECTS)}")
    loads = [os.getloadavg()[0]]
    # As where it is installed: Python may be told not to keep what it has compiled.
    compileall.compile_dir(Path(atoll.__file__).parent, quiet=1)
    sections = []
    for name in given.subjects or SUBJECTS:
        sections.append(_measured(name, EFFORTS[given.effort]))
        loads.append(os.getloadavg()[0])
    if given.write is not None:
        whole = given.effort == FULL.name and not given.subjects
        part = " ".join(("python -m bench", *given.subjects, "--effort", given.effort))
        given.write.write_text(page(sections, machine(loads), "make bench" if whole else part))
    return 0


def _measured(name: str, effort: Effort) -> Section:
    begun = time.monotonic()
    section = SUBJECTS[name](effort)
    print(section_text(section))
    print("\n".join(limit_lines(section.limits)))
    print(f"\n{name}: {time.monotonic() - begun:.0f} s\n", flush=True)
    return section


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AtollError as error:
        sys.exit(f"bench: {error.message}\n  try: {error.hint}")

"""The stage of the scenario: the hosts, the sandboxes made so far, and how commands on them are shown."""

import re
import shlex
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import Any

from atoll.lab.host import Host
from atoll.lab.namespace import Command, Namespace, words
from atoll.lab.story import Story
from atoll.lab.topology import Lab

_SHORT_NAME = re.compile(r"\b(atoll-|av|at-)([0-9a-f]{12})\b")
_LONG_ID = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


@dataclass
class Stage:
    """What the chapters share. `spaces` are the namespaces of sandboxes by name."""

    lab: Lab
    story: Story
    host: Host
    outside: Host
    spaces: dict[str, Namespace] = field(default_factory=dict)

    @classmethod
    def built(cls, lab: Lab, story: Story) -> "Stage":
        """A LAN with a host, its daemon running, and an outside host."""
        lan = lab.switch("lan", "10.99.0.0/24", "fd99::/64")
        host, outside = lab.host("host", lan), lab.host("outside", lan)
        host.start_daemon()
        return cls(lab, story, host, outside)

    def atoll(self, command: Command, *, quietly: bool = False, lines_max: int = 12) -> str:
        """Run an atoll command on the host and show it; what it prints is returned, and shown unless `quietly`."""
        self.story.typed("host", f"atoll {shlex.join(words(command))}")
        printed = self.host.atoll(command).stdout
        if not quietly:
            self.story.show(printed, lines_max=lines_max)
        return printed

    def change(self, command: Command, *, only: str = "") -> str:
        """Run a changing atoll command, and show the commands that would do the same by hand.

        A dry run says them; the ids in them are replaced by those that were really given. With `only`, just those
        lines that contain it are shown: the rest has been seen before.
        """
        dry = self.host.atoll([*words(command), "--dry-run"]).stdout
        before = self._names()
        printed = self.atoll(command, quietly=True)
        lines = _LONG_ID.sub(r"\1...", _renamed(dry, self._names() - before)).splitlines()
        shown = [line for line in lines if only in line]
        if len(shown) < len(lines):
            shown.insert(0, "# namespace, cable, addresses, routes: as for web")
        self.story.same_as("\n".join(shown))
        return printed

    def create(self, name: str, *options: str, only: str = "") -> Namespace:
        """Create a sandbox, show how (see `change`), and remember its namespace."""
        self.change(["sandbox", "create", name, *options], only=only)
        self.spaces[name] = self.host.sandbox(name)
        return self.spaces[name]

    def typed(
        self, space: Namespace, command: Command, *, check: bool = True, lines_max: int = 12, timeout_s: float = 20
    ) -> str:
        """Run a command on a host or in a sandbox and show it with what it prints."""
        self.story.typed(space.name, shlex.join(words(command)))
        done = space.run(command, check=check, timeout_s=timeout_s)
        self.story.show(done.stdout + done.stderr, lines_max=lines_max)
        return done.stdout

    def serve(self, space: Namespace, page: str, *, listen: str = "80") -> None:
        """Start busybox's web server in a sandbox with one page, and wait until it listens."""
        directory = self.lab.directory / f"www-{space.name}-{listen.replace(':', '-')}"
        directory.mkdir()
        (directory / "index.html").write_text(page + "\n")
        self.story.typed(space.name, f"echo {page} > index.html; busybox httpd -f -p {listen} &")
        space.start(["busybox", "httpd", "-f", "-p", listen, "-h", str(directory)])
        space.run(["sh", "-c", _AWAIT_LISTENER, listen.rpartition(":")[2]])

    def fetch(self, space: Namespace, url: str) -> str:
        """Get a page with busybox's wget, shown; "" when it is refused. Raises TimeoutExpired."""
        # Not with wget's own -T: Debian's static busybox 1.35 crashes on it.
        return self.typed(space, ["busybox", "wget", "-O", "-", "-q", url], check=False, timeout_s=5).strip()

    def endpoint(self, sandbox: str, network: str = "bridge") -> dict[str, Any]:
        """A sandbox's place on a network, as inspect gives it."""
        found: dict[str, Any] = self.host.inspect("sandbox", sandbox)["Networks"][network]
        return found

    def address(self, sandbox: str, network: str = "bridge") -> str:
        """A sandbox's IPv4 address, without the prefix length."""
        return str(ip_interface(self.endpoint(sandbox, network)["IPAddress"]).ip)

    def _names(self) -> frozenset[str]:
        links = {entry["ifname"] for entry in self.host.links()}
        return frozenset(links | {path.name for path in self.host.sandbox_paths()})


_AWAIT_LISTENER = 'for i in $(seq 100); do ss -Hltn "sport = :$0" | grep -q . && exit 0; sleep 0.02; done; exit 1'


def _renamed(dry: str, made: frozenset[str]) -> str:
    """The text of a dry run with the names that the real run gave: one of each kind is replaced by its like."""
    planned: dict[str, list[str]] = {}
    for kind, digits in dict.fromkeys(_SHORT_NAME.findall(dry)):
        planned.setdefault(kind, []).append(digits)
    for kind, all_digits in planned.items():
        real = sorted(name.removeprefix(kind) for name in made if _SHORT_NAME.fullmatch(name) and name.startswith(kind))
        for old, new in zip(all_digits, real, strict=False):
            dry = re.sub(rf"{old}[0-9a-f]*", new, dry)
    return dry

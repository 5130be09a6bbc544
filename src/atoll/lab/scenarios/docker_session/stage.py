"""The stage: a host with a daemon and an image, an outside host, and the docker command that talks to the daemon."""

import os
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from atoll.errors import AtollError, Unsupported
from atoll.lab.host import Host
from atoll.lab.namespace import CommandFailed
from atoll.lab.story import Story
from atoll.lab.terminal import Terminal
from atoll.lab.topology import Lab

PROMPT = "/ # "
"""Of busybox's shell as root in /."""
_WHERE_IS_THE_CURSOR = "\x1b[6n"
"""Asked of the terminal by busybox's shell after its prompt."""
_PROGRAMS = ("docker", "runc", "conmon", "skopeo")


@dataclass(frozen=True)
class Stage:
    """What the steps share."""

    lab: Lab
    story: Story
    host: Host
    outside: Host

    @classmethod
    def built(cls, lab: Lab, story: Story) -> "Stage":
        """A LAN with a host, its daemon running, and an outside host. Raises Unsupported where a program is missing."""
        missing = [program for program in _PROGRAMS if shutil.which(program) is None]
        if missing:
            raise Unsupported(
                f"this demo needs {', '.join(missing)}", hint="apt-get install docker-cli runc conmon skopeo"
            )
        lan = lab.switch("lan", "10.99.0.0/24", "fd99::/64")
        host, outside = lab.host("host", lan), lab.host("outside", lan)
        host.start_daemon()
        host.atoll("image bootstrap")
        return cls(lab, story, host, outside)

    def close(self) -> None:
        """Take away containers, images and what they have mounted, and end the daemon."""
        with suppress(AtollError):
            self.host.atoll("purge --force")

    @property
    def environment(self) -> dict[str, str]:
        """Of the docker command: its own home, our daemon."""
        socket = f"unix://{self.host.run_directory / 'atoll.sock'}"
        return {"PATH": os.environ["PATH"], "HOME": str(self.lab.directory), "DOCKER_HOST": socket, "TERM": "xterm"}

    def argv(self, line: str) -> list[str]:
        """A command line as it has to be started to run on the host, with docker's environment."""
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return self.host.argv(["env", *settings, *shlex.split(line)])

    def docker(self, line: str, *, lines_max: int = 14) -> str:
        """Type a docker command on the host; what it prints is shown and returned. Raises CommandFailed."""
        self.story.typed("host", line)
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        done = self.host.run(["env", *settings, *shlex.split(line)], check=False)
        self.story.show(done.stdout + done.stderr, lines_max=lines_max)
        if done.returncode != 0:
            raise CommandFailed(f"{line} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def session(self, line: str, typed: Sequence[str]) -> list[str]:
        """Type a docker command that gives a shell into a real terminal, and lines into that shell, and leave it.

        What each line printed. Raises Unavailable, CommandFailed.
        """
        self.story.typed("host", line)
        with Terminal(self.argv(line)) as terminal:
            terminal.read_until(PROMPT)
            printed = [self._in_shell(terminal, each) for each in typed]
            terminal.type("exit\n")
            status = terminal.wait()
        if status != 0:
            raise CommandFailed(f"{line} ended with {status}")
        return printed

    def _in_shell(self, terminal: Terminal, line: str) -> str:
        terminal.type(f"{line}\n")
        said = terminal.read_until(PROMPT).replace("\r", "").replace(_WHERE_IS_THE_CURSOR, "")
        _, _, printed = said.partition("\n")
        shown = printed.removesuffix(PROMPT)
        self.story.show(f"{PROMPT}{line}\n{shown}", lines_max=14)
        return shown

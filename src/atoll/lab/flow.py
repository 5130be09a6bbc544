"""A steady flow of numbered records between two namespaces: what was lost, and how long the slowest took."""

import json
from dataclasses import dataclass

from atoll.lab.namespace import CommandFailed, Namespace


@dataclass(frozen=True, slots=True)
class FlowReport:
    """What was sent and what arrived; `longest_ms` is the longest that a record took."""

    sent: int
    received: int
    longest_ms: float

    @property
    def lost(self) -> int:
        """Records that never arrived."""
        return self.sent - self.received


class Flow:
    """A flow that runs by itself for `seconds`; `target` is what the sender asks, (address, port)."""

    def __init__(
        self,
        sender: Namespace,
        receiver: Namespace,
        *,
        protocol: str,
        listen: tuple[str, int],
        target: tuple[str, int],
        rate: int,
        seconds: float,
    ) -> None:
        """Start both ends. Raises CommandFailed when the receiver can't listen."""
        receive = receiver.program("flow", "receive", protocol, listen[0], str(listen[1]))
        self._receiver = receiver.start(receive)
        assert self._receiver.stdout is not None
        if self._receiver.stdout.readline() != "ready\n":
            raise CommandFailed(f"no receiver in {receiver.name}: {self._receiver.communicate()[1].strip()}")
        send = sender.program("flow", "send", protocol, target[0], str(target[1]), str(rate), str(seconds))
        self._sender = sender.start(send)
        self._patience_s = seconds + 20

    def report(self) -> FlowReport:
        """Wait for the end. Raises CommandFailed when the sender could not send."""
        out, said = self._sender.communicate(timeout=self._patience_s)
        if self._sender.returncode != 0:
            self._receiver.kill()
            self._receiver.communicate()
            raise CommandFailed(f"the flow broke: {said.strip()}")
        summary = json.loads(self._receiver.communicate(timeout=self._patience_s)[0])
        return FlowReport(json.loads(out)["sent"], summary["received"], summary["longest_ms"])

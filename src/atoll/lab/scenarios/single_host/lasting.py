"""The daemon's death changes nothing for the traffic, and in the end nothing is left."""

import re
import time

from atoll.lab.scenarios.single_host.stage import Stage

LEFT_ALONE = {"lo", "eth0"}


def play(stage: Stage) -> None:
    """Crash and restart under traffic; then everything is removed."""
    _crash(stage)
    _nothing_left(stage)


def _crash(stage: Stage) -> None:
    story, host = stage.story, stage.host
    with story.step("The daemon is killed and started again while traffic goes on"):
        story.say("Networks live in the kernel. The daemon only changes them; without it they stay as they are.")
        assert host.daemon is not None
        command = f"ping -q -i 0.01 -c 150 {stage.outside.address()}"
        story.typed("client", f"{command} &")
        pinging = stage.spaces["client"].start(command)
        time.sleep(0.3)
        story.typed("host", f"kill -KILL {host.daemon.pid}        (the daemon)")
        host.daemon.kill()
        page = stage.fetch(stage.outside, f"http://{host.address()}:8080/")
        story.check("without a daemon the published port still answers", page == "hello from shop", page)
        took_s = host.daemon.restart()
        story.typed("host", f"atoll up                   ({took_s:.2f} s until it was ready)")
        printed, _ = pinging.communicate(timeout=20)
        story.show("\n".join(line for line in printed.splitlines() if "packets transmitted" in line))
        lost = re.search(r"(\d+) packets transmitted, (\d+) received", printed)
        story.check("not one ping was lost", lost is not None and lost[1] == lost[2], printed)
        listed = stage.atoll("sandbox ls --format '{{.Name}} {{.Kind}} {{.Networks}}'")
        known = {line.split()[0] for line in listed.splitlines()}
        story.check("the new daemon knows every sandbox", known == set(stage.spaces), known)


def _nothing_left(stage: Stage) -> None:
    story, host = stage.story, stage.host
    with story.step("Purge: nothing stays behind"):
        stage.atoll("purge --force")
        links = {link["ifname"] for link in host.links()}
        story.check("only the host's own interfaces are left", links == LEFT_ALONE, links)
        tables = stage.typed(host, "nft list tables")
        story.check("no firewall table of atoll's is left", "atoll" not in tables, tables)
        story.check("no namespace of a sandbox is left", not host.sandbox_paths(), host.sandbox_paths())

"""The other ways to be on a network: another sandbox's namespace, the host's own, none at all."""

from atoll.lab.scenarios.single_host.stage import Stage


def play(stage: Stage) -> None:
    """Joined, host, none."""
    _joined(stage)
    _host(stage)
    _none(stage)


def _joined(stage: Stage) -> None:
    story = stage.story
    with story.step("Joined: two sandboxes in one namespace talk over 127.0.0.1"):
        story.say("Nothing is made: the second is only another name for the first one's namespace.")
        helper = stage.create("helper", "--network", "container:web")
        stage.serve(stage.spaces["web"], "only inside", listen="127.0.0.1:8000")
        page = stage.fetch(helper, "http://127.0.0.1:8000/")
        story.check("helper reaches web's server on 127.0.0.1", page == "only inside", page)
        shown = stage.typed(helper, "ip -brief address")
        own = stage.spaces["web"].out("ip -brief address")
        story.check("helper has web's interfaces and web's address", shown == own, (shown, own))


def _host(stage: Stage) -> None:
    story, host = stage.story, stage.host
    with story.step("Host: no namespace of its own, the host's interfaces and ports"):
        metrics = stage.create("metrics", "--network", "host")
        shown = stage.typed(metrics, "ip -brief address show dev eth0")
        story.check("it has the host's own address", str(host.address()) in shown, shown)
        stage.serve(metrics, "hello from metrics", listen="9100")
        page = stage.fetch(stage.outside, f"http://{host.address()}:9100/")
        story.check("its port is the host's port: nothing is translated", page == "hello from metrics", page)


def _none(stage: Stage) -> None:
    story = stage.story
    with story.step("None: only loopback"):
        batch = stage.create("batch", "--network", "none")
        links = [link["ifname"] for link in batch.links()]
        stage.typed(batch, "ip -brief address")
        story.check("lo is its only interface", links == ["lo"], links)
        routes = stage.typed(batch, "ip route")
        story.check("it has no route", routes == "", routes)
        tried = batch.run(f"ping -c 1 -W 1 {stage.host.address()}", check=False)
        story.check("nothing can be reached from it", tried.returncode != 0, tried.stdout)

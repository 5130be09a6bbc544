"""The switch and its cables: default networks, two sandboxes, a page from one to the other, the gateway."""

from atoll.lab.scenarios.single_host.stage import Stage

DEFAULTS = {"bridge": "bridge", "host": "host", "none": "null"}


def play(stage: Stage) -> None:
    """Steps from an empty host to two sandboxes that talk."""
    _default_networks(stage)
    _two_sandboxes(stage)
    _a_page(stage)
    _gateway(stage)


def _default_networks(stage: Stage) -> None:
    with stage.story.step("Three networks are there from the first start"):
        table = stage.atoll("network ls")
        header, *rows = [line.split() for line in table.splitlines()]
        found = {row[1]: row[2] for row in rows}
        stage.story.check(
            "NETWORK ID, NAME, DRIVER, SCOPE are listed", header == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"], header
        )
        stage.story.check("bridge, host and none are there, with their drivers", found == DEFAULTS, found)
        stage.story.say(
            "bridge is a switch made of software. The host's own end of it has the gateway's address; nobody is "
            "plugged in yet, so its state is DOWN."
        )
        shown = stage.typed(stage.host, "ip address show dev atoll0")
        stage.story.check("the switch atoll0 has the gateway's address", "inet " in shown, shown)


def _two_sandboxes(stage: Stage) -> None:
    story = stage.story
    with story.step("Two sandboxes: a namespace each, and a cable from each to the switch"):
        story.say(
            "A network interface belongs to one namespace. A veth pair is a cable: one end goes into the namespace as "
            "eth0, the other stays on the host and is plugged into the switch. By hand it takes the lines after |."
        )
        stage.create("web")
        stage.create("client", only="ip link add")
        stage.typed(stage.host, "ip -brief link show master atoll0")
        stage.typed(stage.spaces["web"], "ip address show")
        outer = {link["ifname"]: link for link in stage.host.links()}
        for name in ("web", "client"):
            endpoint = stage.endpoint(name)
            inner = {link["ifname"]: link for link in stage.spaces[name].links()}
            host_end, inner_end = outer[endpoint["HostIfname"]], inner[endpoint["Ifname"]]
            story.say(
                f"cable of {name}: {host_end['ifname']} (index {host_end['ifindex']}) on the host <=> "
                f"{inner_end['ifname']} (index {inner_end['ifindex']}) in {name}"
            )
            paired = (host_end["link_index"], inner_end["link_index"]) == (inner_end["ifindex"], host_end["ifindex"])
            story.check(f"the two ends of {name}'s cable name each other", paired, (host_end, inner_end))
            story.check(
                f"{host_end['ifname']} is plugged into atoll0",
                host_end.get("master") == "atoll0",
                host_end.get("master"),
            )


def _a_page(stage: Stage) -> None:
    story = stage.story
    with story.step("They reach each other through the switch"):
        address = stage.address("web")
        shown = stage.typed(stage.spaces["client"], f"ping -c 3 -i 0.1 -W 1 {address}")
        story.check("3 of 3 pings are answered", " 0% packet loss" in shown, shown)
        stage.serve(stage.spaces["web"], "hello from web")
        page = stage.fetch(stage.spaces["client"], f"http://{address}/")
        story.check("busybox wget in client gets the page of busybox httpd in web", page == "hello from web", page)
        answer = stage.typed(stage.spaces["client"], f"ip neighbour show {address}")
        mac = stage.endpoint("web")["MacAddress"]
        story.check("client talked to web's own MAC address: the switch switched, nobody routed", mac in answer, answer)


def _gateway(stage: Stage) -> None:
    story = stage.story
    with story.step("The host's end of the switch is their gateway"):
        gateway = stage.endpoint("client")["Gateway"]
        routes = stage.typed(stage.spaces["client"], "ip route")
        story.check(f"client's default route goes through {gateway}", f"default via {gateway}" in routes, routes)
        shown = stage.typed(stage.spaces["client"], f"ping -c 2 -i 0.1 -W 1 {gateway}")
        story.check("the gateway answers", " 0% packet loss" in shown, shown)

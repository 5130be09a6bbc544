"""Address translation: the way out (masquerade), the way in (published ports), and what stays closed."""

from atoll.lab.capture import Packet
from atoll.lab.probe import CLOSED_WAIT_S, Answerer, ask_one
from atoll.lab.scenarios.single_host.stage import Stage

MASQUERADE = "nft list chain inet atoll postrouting"


def play(stage: Stage) -> None:
    """Steps between the host's networks and the world outside."""
    _way_out(stage)
    _way_in(stage)
    _two_webs(stage)
    _closed(stage)


def _way_out(stage: Stage) -> None:
    story, host, client = stage.story, stage.host, stage.spaces["client"]
    with story.step("The way out: the host puts its own address on the packets (masquerade, SNAT)"):
        story.say(
            "client's network is known only on this host: no outside host could answer it. So when a packet leaves, "
            "its source becomes the host's address, and the answer's destination is turned back."
        )
        before = _masqueraded(stage)
        with host.capture("atoll0", "icmp") as inner, stage.outside.capture("eth0", "icmp") as outer:
            shown = stage.typed(client, f"ping -c 3 -i 0.1 -W 1 {stage.outside.address()}")
            on_switch, on_lan = inner.packets(6), outer.packets(6)
        after = _masqueraded(stage)
        story.check("the outside host answers", " 0% packet loss" in shown, shown)
        story.typed("host", "tcpdump -n -i atoll0 icmp            (the first two packets)")
        story.show(_lines(on_switch[:2]))
        story.typed("outside", "tcpdump -n -i eth0 icmp")
        story.show(_lines(on_lan[:2]))
        own, masked = stage.address("client"), str(host.address())
        story.check(f"on the switch the source is client's, {own}", _sources(on_switch, "request") == {own}, on_switch)
        story.check(f"outside, the source is the host's, {masked}", _sources(on_lan, "request") == {masked}, on_lan)
        stage.typed(host, MASQUERADE, lines_max=20)
        story.check(
            f"the masquerade rule counted this one connection ({before} -> {after})", after == before + 1, after
        )


def _way_in(stage: Stage) -> None:
    story, host = stage.story, stage.host
    with story.step("The way in: a published port (DNAT), seen on both sides of the host"):
        shop = stage.create("shop", "-p", "8080:80", only="nft ")
        stage.serve(shop, "hello from shop")
        inside, port_filter = stage.address("shop"), "tcp port 80 or tcp port 8080"
        with host.capture("eth0", port_filter) as outer, host.capture("atoll0", port_filter) as inner:
            page = stage.fetch(stage.outside, f"http://{host.address()}:8080/")
            on_lan, on_switch = outer.packets(2), inner.packets(2)
        story.check("the outside host gets the page from the host's address", page == "hello from shop", page)
        story.typed("host", f"tcpdump -n -i eth0 '{port_filter}'       (question, answer)")
        story.show(_lines(on_lan[:2]))
        story.typed("host", f"tcpdump -n -i atoll0 '{port_filter}'")
        story.show(_lines(on_switch[:2]))
        caller = str(stage.outside.address())
        asked, passed = on_lan[0], on_switch[0]
        story.check(f"DNAT: {asked.target}:8080 became {inside}:80", _target(passed) == (inside, 80), [asked, passed])
        same_client = (passed.source, passed.source_port) == (caller, asked.source_port)
        story.check(f"the client's address is kept: shop sees {caller}", same_client, passed)
        answered = on_lan[1]
        came_from = (answered.source, answered.source_port)
        story.check(
            "the answer leaves under the address that was asked", came_from == (str(host.address()), 8080), answered
        )


def _two_webs(stage: Stage) -> None:
    story, host = stage.story, stage.host
    with story.step("One host address, several web servers: each by a port of its own"):
        other = stage.create("shop2", "-p", "8081:80", only="nft ")
        stage.serve(other, "hello from shop2")
        pages = [stage.fetch(stage.outside, f"http://{host.address()}:{port}/") for port in (8080, 8081)]
        story.check("8080 leads to shop, 8081 to shop2", pages == ["hello from shop", "hello from shop2"], pages)
        story.say(
            "The rules never change; a published port is one element of a map that they look up. Beside each network's "
            "elements stands what iptables would have needed."
        )
        rules = stage.atoll("rules bridge", lines_max=40)
        listed = [
            f"dpt:{port} to:{stage.address(name)}:80" in rules for name, port in (("shop", 8080), ("shop2", 8081))
        ]
        story.check("both ports are among the network's elements", all(listed), listed)
        taken = host.atoll("sandbox create thief -p 8080:80", check=False)
        story.typed("host", "atoll sandbox create thief -p 8080:80")
        story.show(taken.stderr)
        story.check("a third can't have 8080: the error names the holder", "8080" in taken.stderr, taken.stderr)


def _closed(stage: Stage) -> None:
    story, outside = stage.story, stage.outside
    with story.step("What isn't published is closed, even to a neighbour that routes straight to the sandbox"):
        Answerer(stage.spaces["shop"], "shop", [("tcp", "0.0.0.0", 81)])
        inside, host = stage.address("shop"), str(stage.host.address())
        route = f"ip route add {inside}/32 via {host}"
        stage.typed(outside, route)
        for promise, address, port in (
            ("port 81 of shop, which isn't published, through the host", host, 81),
            ("port 81 at shop's own address", inside, 81),
            ("port 80 at shop's own address: published, but not there", inside, 80),
        ):
            answer = ask_one(outside, "tcp", address, port, wait_s=CLOSED_WAIT_S)
            story.typed("outside", f"nc -w 1 {address} {port}         -> {answer}")
            story.check(f"closed: {promise}", not answer.server, answer)
        answer = ask_one(stage.spaces["client"], "tcp", inside, 81)
        story.check("and yet it listens: client, on the same network, is answered", answer.server == "shop", answer)
        outside.run(route.replace("add", "del"))


def _masqueraded(stage: Stage) -> int:
    """Packets that the masquerade rule has counted; it meets only the first of a connection."""
    for line in stage.host.out(MASQUERADE).splitlines():
        words = line.split()
        if words[-1:] == ["masquerade"] and "packets" in words:
            return int(words[words.index("packets") + 1])
    return -1


def _sources(packets: tuple[Packet, ...], kind: str) -> set[str]:
    return {packet.source for packet in packets if f"echo {kind}" in packet.what}


def _target(packet: Packet) -> tuple[str, int]:
    return packet.target, packet.target_port


def _lines(packets: tuple[Packet, ...]) -> str:
    return "\n".join(str(packet).partition(", seq")[0] if "Flags" in packet.what else str(packet) for packet in packets)

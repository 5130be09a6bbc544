"""What is degraded: each aspect begins and ends by itself, and is told once."""

from atoll.engine.events import Event
from atoll.engine.troubles import Aspect, Troubles


def make() -> tuple[Troubles, list[Event]]:
    events: list[Event] = []
    return Troubles(events.append, lambda: 7, lambda object_id: {"name": f"name of {object_id}"}), events


def test_a_reason_is_told_once_and_its_end_once() -> None:
    troubles, events = make()
    troubles.begin("sandbox", "a", Aspect.PORTS, "port 80 is held")
    troubles.begin("sandbox", "a", Aspect.PORTS, "port 80 is held")
    assert troubles.degraded == {"a": "port 80 is held"}
    troubles.end("a", Aspect.PORTS)
    troubles.end("a", Aspect.PORTS)
    assert troubles.degraded == {}
    assert [(event.action, event.attributes["aspect"]) for event in events] == [
        ("degraded", "ports"),
        ("recovered", "ports"),
    ]
    assert events[0].attributes["name"] == "name of a"


def test_the_end_of_one_aspect_leaves_the_others() -> None:
    troubles, _ = make()
    troubles.begin("sandbox", "a", Aspect.PORTS, "port 80 is held")
    troubles.begin("sandbox", "a", Aspect.KERNEL, "eth0 is gone")
    before = troubles.degraded
    troubles.end("a", Aspect.KERNEL)
    assert troubles.degraded == {"a": "port 80 is held"}
    assert before == {"a": "port 80 is held; eth0 is gone"}
    assert troubles.having(Aspect.PORTS) == ("a",)
    assert troubles.having(Aspect.KERNEL) == ()


def test_what_is_gone_is_forgotten_without_a_word() -> None:
    troubles, events = make()
    troubles.begin("network", "n", Aspect.KERNEL, "no bridge")
    troubles.forget("n")
    assert troubles.degraded == {}
    assert [event.action for event in events] == ["degraded"]

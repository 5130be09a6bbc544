"""Which containers are listed. Source: Docker Engine API, ContainerList."""

from collections.abc import Callable

from atoll.api.container_views import Seen
from atoll.api.filters import Filters, parse_filters
from atoll.errors import InvalidRequest, NotFound
from atoll.model.container import Container, MountKind, Status
from atoll.model.world import World

_WORDS = "ancestor before exited expose health id is-task label name network publish since status volume"
_KEYS = frozenset(_WORDS.split(" "))
_PRUNE_KEYS = frozenset({"label", "label!", "until"})

Shown = Callable[[Seen, World], bool]


def parse_container_filters(
    text: str, *, container: Callable[[str], Container], image_id: Callable[[str], str]
) -> tuple[Shown, bool]:
    """What is listed, and whether containers that don't run may be: some filters ask for them.

    `container` and `image_id` raise NotFound; an ancestor that isn't there is nobody's. Raises InvalidRequest
    too.
    """
    filters = parse_filters(text, known=_KEYS)
    for status in filters.values.get("status", ()):
        if status not in [*Status, "removing"]:
            raise InvalidRequest(f"invalid filter 'status={status}'")
    images = {found for name in filters.values.get("ancestor", ()) if (found := _or_none(image_id, name))}
    newer = [container(name).created_ns for name in filters.values.get("since", ())]
    older = [container(name).created_ns for name in filters.values.get("before", ())]
    named, with_id = filters.pattern("name"), filters.pattern("id")
    codes = filters.values.get("exited", ())

    def shown(seen: Seen, world: World) -> bool:
        record = seen.container
        return (
            # Docker's names begin with a slash, and `^/name$` is what scripts ask for.
            (named(f"/{record.name}") or named(record.name))
            and with_id(record.id)
            and filters.labelled("label", {**seen.image.labels, **record.config.labels})
            and filters.exact("status", record.status.value)
            and filters.exact("health", record.health.value)
            and ("ancestor" not in filters.values or record.image_id in images)
            and all(record.created_ns > moment for moment in newer)
            and all(record.created_ns < moment for moment in older)
            and (not codes or (record.status is Status.EXITED and str(record.exit_code) in codes))
            and _on_network(filters, record, world)
            and _mounts(filters, record)
            and _ports(filters, record, seen)
        )

    return shown, bool({"status", "exited"} & filters.values.keys())


def parse_prune_filters(text: str, *, now_ns: int) -> Callable[[Container], bool]:
    """Which containers are pruned, of those that don't run. Raises InvalidRequest."""
    filters = parse_filters(text, known=_PRUNE_KEYS)
    if "until" in filters.values:
        raise InvalidRequest("the filter until can't be used here", hint="use label")

    def kept(container: Container) -> bool:
        labels = container.config.labels
        return filters.labelled("label", labels) and not filters.any_label("label!", labels)

    return kept


def _or_none(image_id: Callable[[str], str], name: str) -> str:
    try:
        return image_id(name)
    except (NotFound, InvalidRequest):
        return ""


def _on_network(filters: Filters, record: Container, world: World) -> bool:
    asked = filters.values.get("network")
    if asked is None:
        return True
    there = [world.networks[endpoint.network_id] for endpoint in world.endpoints_of(record.id)]
    names = {each.network for each in record.network.endpoints} if record.network else set()
    return any(word in names or any(word in (n.name, n.id) for n in there) for word in asked)


def _mounts(filters: Filters, record: Container) -> bool:
    asked = filters.values.get("volume")
    if asked is None:
        return True
    places = {mount.target for mount in record.mounts}
    places |= {mount.source for mount in record.mounts if mount.kind is not MountKind.TMPFS}
    return any(word in places for word in asked)


def _ports(filters: Filters, record: Container, seen: Seen) -> bool:
    mappings = record.network.mappings if record.network else ()
    published = {(m.container.first + k, m.protocol.word) for m in mappings for k in range(len(m.container))}
    exposed = {_port(text) for text in (*seen.image.exposed_ports, *record.config.exposed_ports)} | published
    return all(
        key not in filters.values or any(_port(word) in there for word in filters.values[key])
        for key, there in (("publish", published), ("expose", exposed))
    )


def _port(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    return (int(number) if number.isdecimal() else 0, protocol or "tcp")

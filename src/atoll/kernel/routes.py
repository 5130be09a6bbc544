"""Routes in a namespace that somebody else made."""

from collections.abc import Mapping

from atoll.kernel import inet, netns
from atoll.kernel.look import LinkNames
from atoll.kernel.rtnetlink import RouteSocket
from atoll.model.addresses import Family
from atoll.model.items import ROUTE_PROTOCOL
from atoll.model.sandbox import NetnsEvidence


def foreign_defaults(known: NetnsEvidence) -> Mapping[Family, str]:
    """The default routes of the main table that aren't ours, as `ip route` shows them; of each family the first.

    Raises InvalidRequest when the namespace is gone, KernelError. Effects: none.
    """

    def look() -> dict[Family, str]:
        found: dict[Family, str] = {}
        with RouteSocket() as socket:
            names = LinkNames(socket)
            for family in Family:
                for payload in socket.dump(inet.routes(family)):
                    route = inet.decode_route(payload)
                    if route is not None and route.default and route.protocol != ROUTE_PROTOCOL:
                        found.setdefault(family, _words(route, names.of(route.index)))
        return found

    return netns.visit(known, look)


def _words(route: inet.RouteEntry, ifname: str) -> str:
    words = ["default"] if route.unicast else ["unreachable default"]
    words += [f"via {route.gateway}"] if route.gateway else []
    words += [f"dev {ifname}"] if ifname else []
    words += [f"metric {route.metric}"] if route.metric else []
    return " ".join(words)

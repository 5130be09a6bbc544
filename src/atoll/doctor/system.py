"""The kernel and the programs: what is missing, what can't be read, whether our table is safe."""

from collections.abc import Iterator

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.snapshot import Snapshot
from atoll.model.addresses import Family
from atoll.model.firewall import TABLE
from atoll.model.hostview import Feature


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Missing features, unread rules, a table that somebody else can change."""
    for feature in sorted(snapshot.view.absent - {Feature.OWNERSHIP}):
        needed = feature is not Feature.IPV6 or Family.V6 in snapshot.families()
        yield Finding(
            Severity.ERROR if needed else Severity.NOTE,
            Kind.FEATURE,
            feature,
            f"this kernel has no {feature}",
            "networks with IPv6" if feature is Feature.IPV6 else "networks",
            ("modprobe -a bridge veth nf_tables nf_conntrack nft_ct nft_nat nft_masq nft_fib_inet",)
            if feature is not Feature.IPV6
            else (),
        )
    for reason in snapshot.view.ruleset.unread:
        missing = "is not installed" in reason
        program = "iptables" if "tables-" in reason else "nftables"
        yield Finding(
            Severity.NOTE,
            Kind.UNREAD_RULES,
            reason.split(maxsplit=1)[0],
            f"rules of others could not be read: {reason}",
            "nothing; but what such rules drop isn't found",
            (f"apt-get install {program}",) if missing else (),
        )
    if not snapshot.owned:
        able = Feature.OWNERSHIP not in snapshot.view.absent
        reason = "one was there before the daemon" if able else "this kernel has no such tables, Linux 6.9 has"
        yield Finding(
            Severity.WARNING if able else Severity.NOTE,
            Kind.OWNERSHIP,
            f"tables {TABLE}",
            f"the tables inet {TABLE} and bridge {TABLE} are not both owned: {reason}",
            "nft flush ruleset, or a reload of somebody's firewall, takes them away until they are repaired",
            _remake() if able else (),
        )


def _remake() -> tuple[str, ...]:
    # One that is missing is no reason to stop.
    gone = (f"nft delete table {family} {TABLE} || true" for family in ("inet", "bridge"))
    return ("atoll down", *gone, "atoll up")

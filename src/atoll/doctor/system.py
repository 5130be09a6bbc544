"""The kernel and the programs: what is missing, what can't be read, whether our table is safe."""

from collections.abc import Iterator

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.snapshot import Snapshot
from atoll.model.addresses import Family
from atoll.model.firewall import TABLE, TABLE_FAMILY
from atoll.model.hostview import Feature


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Missing features, unread rules, a table that somebody else can change."""
    for feature in sorted(snapshot.view.absent):
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
        table = f"{TABLE_FAMILY} {TABLE}"
        yield Finding(
            Severity.WARNING,
            Kind.OWNERSHIP,
            f"table {table}",
            f"table {table} is not owned: it was there before the daemon, or Linux is older than 6.9",
            "nft flush ruleset, or a reload of somebody's firewall, takes it away until it is repaired",
            ("atoll down", f"nft delete table {table}", "atoll up"),
        )

"""The commands that let the interfaces of ours through a chain of somebody else's."""

from collections.abc import Iterable, Iterator, Sequence

from atoll.model.ruleset import Chain, Ruleset, Tool

_DOCKER_USER = "DOCKER-USER"
"""The chain that Docker leaves to the administrator and asks first, before each of its own."""


def let_through(ruleset: Ruleset, chain: Chain, patterns: Sequence[str], bridges: Iterable[str]) -> tuple[str, ...]:
    """Accept what comes from these bridges and what goes to them, in a forward chain.

    `patterns` name the bridges as rules do. In the words of whoever keeps the chain: ufw, firewalld, Docker, nft or
    iptables themselves.
    """
    if _is_of_firewalld(chain):
        return _trusted_by_firewalld(bridges)
    if _is_of_ufw(ruleset, chain):
        return tuple(f"ufw route allow {way} on {_plus(pattern)}" for pattern in patterns for way in ("in", "out"))
    return tuple(_accepting(ruleset, chain, patterns, ("in", "out")))


def let_in(ruleset: Ruleset, chain: Chain, patterns: Sequence[str], bridges: Iterable[str]) -> tuple[str, ...]:
    """Accept what comes from these bridges to the host itself, in an input chain."""
    if _is_of_firewalld(chain):
        return _trusted_by_firewalld(bridges)
    if _is_of_ufw(ruleset, chain):
        return tuple(f"ufw allow in on {_plus(pattern)}" for pattern in patterns)
    return tuple(_accepting(ruleset, chain, patterns, ("in",)))


def program_of(chain: Chain) -> str:
    """The program that changes a chain of iptables: iptables-legacy, ip6tables-nft..."""
    return chain.tool.value if chain.family == "ip" else chain.tool.value.replace("iptables", "ip6tables", 1)


def _is_of_firewalld(chain: Chain) -> bool:
    return chain.tool is Tool.NFT and chain.table == "firewalld"


def _is_of_ufw(ruleset: Ruleset, chain: Chain) -> bool:
    return any(name.startswith(("ufw-", "ufw6-")) for name in ruleset.beside(chain))


def _trusted_by_firewalld(bridges: Iterable[str]) -> tuple[str, ...]:
    added = (f"firewall-cmd --permanent --zone=trusted --add-interface={bridge}" for bridge in sorted(bridges))
    return (*added, "firewall-cmd --reload")


def _accepting(ruleset: Ruleset, chain: Chain, patterns: Sequence[str], ways: Sequence[str]) -> Iterator[str]:
    docker = chain.hook == "forward" and _DOCKER_USER in ruleset.beside(chain)
    for pattern in patterns:
        for way in ways:
            if chain.tool is Tool.NFT:
                # A star has to be quoted for nft, and the quotes for the shell.
                name = f"'\"{pattern}\"'" if pattern.endswith("*") else pattern
                yield f"nft insert rule {chain.family} {chain.table} {chain.name} {way[0]}ifname {name} accept"
            else:
                target = _DOCKER_USER if docker else chain.name
                table = "" if chain.table == "filter" else f"-t {chain.table} "
                yield f"{program_of(chain)} {table}-I {target} -{way[0]} {_plus(pattern)} -j ACCEPT"


def _plus(pattern: str) -> str:
    """A pattern as iptables and ufw spell it."""
    return f"{pattern[:-1]}+" if pattern.endswith("*") else pattern

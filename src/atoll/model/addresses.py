"""Addresses of both families as one kind of value: loops over families, never a second copy."""

import hashlib
import ipaddress
import itertools
import re
from collections.abc import Iterator
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from atoll.errors import InvalidRequest
from atoll.model.names import shown

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
IPInterface = IPv4Interface | IPv6Interface

_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_BROADCAST = IPv4Address("255.255.255.255")
_PREFIX_LENGTH = re.compile(r"[0-9]{1,3}\Z")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")


class Family(IntEnum):
    """An address family; the value is `ipaddress`'s version number."""

    V4 = 4
    V6 = 6

    @property
    def bits(self) -> int:
        """Length of an address."""
        return 32 if self is Family.V4 else 128

    @property
    def nfproto(self) -> int:
        """NFPROTO_IPV4 or NFPROTO_IPV6, linux/netfilter.h; equal to AF_INET and AF_INET6."""
        return 2 if self is Family.V4 else 10

    @property
    def unspecified(self) -> IPAddress:
        """0.0.0.0 or ::."""
        return IPv4Address(0) if self is Family.V4 else IPv6Address(0)


def family_of(value: IPAddress | IPNetwork | IPInterface) -> Family:
    """The family of any address value."""
    # Not Family(version), which takes three times as long: it is asked dozens of times for each endpoint.
    return Family.V4 if value.version == 4 else Family.V6


def parse_address(what: str, text: str) -> IPAddress:
    """Parse one address of either family. Raises InvalidRequest naming `what` and the text."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidRequest(f"invalid {what} {shown(text)}: not an IPv4 or IPv6 address") from None
    if isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise InvalidRequest(f"invalid {what} {shown(text)}: a zone or an IPv4-mapped address can't be used here")
    return address


def never_local(address: IPAddress) -> str:
    """What keeps an address from being a host's own anywhere, "" for nothing. 0.0.0.0 and :: stand for all it has.

    Source: RFC 1122 section 3.2.1.3, RFC 4291 section 2.7.
    """
    if address.is_multicast:
        return "a multicast address"
    if address in _THIS_NETWORK and not address.is_unspecified:
        return 'a "this network" address'
    return "the broadcast address" if address == _BROADCAST else ""


def parse_network(what: str, text: str) -> IPNetwork:
    """Parse `address/length`; host bits are cleared, as Docker does. Raises InvalidRequest."""
    address_text, slash, length = text.partition("/")
    address = parse_address(what, address_text)
    if not slash:
        usual = 24 if family_of(address) is Family.V4 else 64
        raise InvalidRequest(f"invalid {what} {shown(text)}: no prefix length", hint=f"write it as {address}/{usual}")
    # `ipaddress` would take a netmask too.
    if not _PREFIX_LENGTH.match(length) or int(length) > family_of(address).bits:
        raise InvalidRequest(
            f"invalid {what} {shown(text)}: {shown(length)} is not a prefix length of 0 to {family_of(address).bits}"
        )
    return ipaddress.ip_network((address, int(length)), strict=False)


def parse_mac(text: str) -> str:
    """Parse a unicast MAC address to `aa:bb:cc:dd:ee:ff` in lower case. Raises InvalidRequest."""
    mac = text.strip().lower().replace("-", ":")
    if not _MAC.match(mac):
        raise InvalidRequest(f"invalid MAC address {shown(text)}: write it as 02:42:ac:11:00:02")
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise InvalidRequest(f"invalid MAC address {shown(text)}: a group or zero address can't be an interface's own")
    return mac


def interface_of(address: IPAddress, subnet: IPNetwork) -> IPInterface:
    """The address with the subnet's prefix length."""
    return ipaddress.ip_interface((address.packed, subnet.prefixlen))


def link_local_of(mac: str) -> IPv6Address:
    """The link-local address that an interface makes of its MAC. Source: RFC 4291, appendix A (modified EUI-64)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return IPv6Address(b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:])


def mac_of(address: IPAddress) -> str:
    """The MAC derived from an address: 02:42 and its last four bytes.

    A reused address thus keeps its MAC, so neighbours that remember it stay right.
    """
    return "02:42:" + ":".join(f"{byte:02x}" for byte in address.packed[-4:])


def macs_of(address: IPAddress) -> Iterator[str]:
    """The MAC derived from an address, and then others derived from all of it, without end.

    For where the first is taken: IPv6 addresses may end alike.
    """
    yield mac_of(address)
    for number in itertools.count():
        digest = hashlib.sha256(address.packed + number.to_bytes(4, "big")).digest()
        yield "02:42:" + ":".join(f"{byte:02x}" for byte in digest[:4])

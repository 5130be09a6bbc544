"""What strangers send: values of a shape with odd contents, and values of no such shape."""

import types
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

ODD_TEXTS = (
    "", " ", "0", "-1", "00", "1e9", "NaN", "true", "null", "/", "//", "/..", "/../..", "../../etc/passwd", ".", "-rf",
    "--privileged", "a" * 300, "/" + "a" * 5000, "/" + "a/" * 1500, "a\nb", "a\0b", "/a\0b", "\x7f\x1b[2J", "\u202e",
    "é\u0301",
    "\U0001f41f", "\uffff", "%s%n{}", "$(id)", "`id`", "; flush ruleset", "host", "none", "default", "bridge",
    "private",
    "container:", "container:x", "container:stays", "shareable", "stays", "busybox", "busybox:latest", "10.0.0.0/8",
    "10.77.0.0/24", "10.77.0.5", "0.0.0.0/0", "255.255.255.255", "::", "::1/128", "fd00:77::/64", "::ffff:1.2.3.4%eth0",
    "02:42:0a:00:00:09", "ff:ff:ff:ff:ff:ff", "80", "80/tcp", "65535/udp", "1-65535/sctp", "70000", "90-80/tcp",
    "-5:80",
    "8080:80", "root", "4294967295", "1000:1000", "nobody:nosuch", "999999999999", "KILL", "SIGRTMIN+99", "-9",
    "CAP_ALL",
    "all", "net.ipv4.ip_forward", "kernel.panic", "always", "on-failure", "unless-stopped", "rprivate", "rshared",
    "/tmp:/tmp", "vol:/v:ro", "size=1k,mode=9999", "json-file", "max-size", "10m", "9" * 30 + "g", "a=b", "=b", "a=",
    "1h",
    "1h1h1h", "9999999999h", "2024-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "NONE", "CMD",
    "CMD-SHELL",
    "sha256:" + "0" * 64, "f" * 64, "[a", "(a+)+$", "\\", "^/", "*", "a|" * 100,
    "com.docker.network.bridge.name", "com.docker.network.driver.mtu", "com.docker.network.endpoint.sysctls",
)  # fmt: skip
ODD_NUMBERS = (0, 1, -1, 2, 255, 65536, 2**31, -(2**31), 2**32, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, 10**400)

texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=20)
numbers = st.sampled_from(ODD_NUMBERS) | st.integers(-10, 5000)
scalars = st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
"""Anything that JSON can say."""


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Values that a field of this type takes, as JSON."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return bodies(kind)
    if origin is list:
        return st.lists(of_type(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(texts, of_type(arguments[1]), max_size=3)
    if origin in (Union, types.UnionType):
        return st.one_of(*(of_type(each) for each in arguments))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: texts, int: numbers, bool: st.booleans(), type(None): st.none(), Any: values
    }  # fmt: skip
    return plain[kind]


def bodies(
    shape: type[msgspec.Struct], *, without: Callable[[str], bool] = lambda name: False
) -> st.SearchStrategy[Any]:
    """Objects with a few of the shape's fields, of their types mostly. `without` names fields that are left out."""
    fields = [field for field in msgspec.structs.fields(shape) if not without(field.encode_name)]
    pairs = st.deferred(
        lambda: st.one_of(
            *(st.tuples(st.just(field.encode_name), _mostly(of_type(field.type), values)) for field in fields)
        )
    )
    return st.lists(pairs, max_size=4).map(dict)


def _mostly(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda number: other if number == 0 else usual)

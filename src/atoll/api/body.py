"""Request bodies: JSON to a typed struct, or an error that names the field and its value."""

import re
from typing import Any, TypeVar

import msgspec

from atoll.errors import InvalidRequest

BODY_BYTES_MAX = 1 << 20
"""Larger bodies are refused with 413: the largest real one, a create with hundreds of labels, has some 50 KiB."""

_SHOWN_MAX = 80
_INTEGER_LIMIT = 1 << 63
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")

T = TypeVar("T")


def decode_body(raw: bytes, shape: type[T]) -> T:
    """The body as `shape`, a msgspec struct. Unknown fields are ignored, and null is as good as absent, as in Go.

    Raises InvalidRequest.
    """
    if not raw.strip():
        raise InvalidRequest("the request has no body: a JSON object is expected")
    try:
        value = _as_in_go(msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the request body {shown_json(raw)} is not JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest(f"the request body {shown_json(raw)} is nested too deeply") from None
    if value is None:
        value = {}
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise _wrong_type(value, str(error)) from None


def _as_in_go(value: Any) -> Any:
    """The value without nulls. Raises InvalidRequest for a number that is none of Go's int64."""
    match value:
        case dict():
            return {key: _as_in_go(item) for key, item in value.items() if item is not None}
        case list():
            return [_as_in_go(item) for item in value if item is not None]
        case int() if not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
            raise InvalidRequest(f"a number in the request body is beyond 64 bits, signed: {shown_json(value)}")
        case _:
            return value


def _wrong_type(body: Any, reason: str) -> InvalidRequest:
    """msgspec says ``Expected `str`, got `int` - at `$.IPAM.Config[0].Subnet` ``; people want the value too."""
    expected, _, place = reason.partition(" - at `$")
    path = place.rstrip("`").lstrip(".")
    if not path:
        return InvalidRequest(f"invalid request body {shown_json(body)}: {expected.replace('`', '').lower()}")
    value = body
    for key, index in _STEP.findall(f".{path}" if path[0] != "[" else path):
        if key and isinstance(value, dict) and key in value:
            value = value[key]
        elif index.isdigit() and isinstance(value, list):
            value = value[int(index)]
    return InvalidRequest(
        f"invalid value {shown_json(value)} of {path}: {expected.replace('`', '').lower()}", subject=path.split(".")[0]
    )


def shown_json(value: Any) -> str:
    """A decoded value, or JSON as it came, as an error message shows it."""
    try:
        text = value.decode(errors="replace") if isinstance(value, bytes) else msgspec.json.encode(value).decode()
    except OverflowError:
        # msgspec decodes numbers that it doesn't encode.
        return "a number of more than 64 bits"
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."

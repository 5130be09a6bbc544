"""Records as JSON: fields by name, addresses and enums by value.

A field that this version does not know is refused, never dropped: the next commit would lose it. So every change of a
record's shape raises the store's schema version (`schema.py`), whose check comes first. A field that is missing gets
its default, so adding one needs no rewriting of what is stored.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from atoll.errors import InvalidRequest, StoreCorrupt
from atoll.model.addresses import IPAddress, IPNetwork
from atoll.model.container import Container
from atoll.model.network import Network
from atoll.model.sandbox import Endpoint, Sandbox
from atoll.model.world import Allowance, Record, Removal
from atoll.store.readers import Misfit, Reader, reader_of

_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "network": reader_of(Network),
        "sandbox": reader_of(Sandbox),
        "endpoint": reader_of(Endpoint),
        "allowance": reader_of(Allowance),
        "removal": reader_of(Removal),
        "container": reader_of(Container),
    }
)


def encode_record(record: Record) -> bytes:
    """The record as one JSON object, all fields written.

    Raises InvalidRequest for text that has no UTF-8 form (half of a surrogate pair, which JSON's escapes can spell).
    """
    try:
        return msgspec.json.encode(record, enc_hook=_encode_value)
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"invalid text {error.object[:80]!r}: not Unicode", subject=record.id) from error


def decode_record(kind: str, record_id: str, body: bytes, *, where: str, hint: str = "") -> Record:
    """The record of `kind` and `record_id` whose JSON is `body`.

    Raises StoreCorrupt naming the record, `where` it is, and the field that does not fit; `hint` is for it.
    """

    def corrupt(reason: str) -> StoreCorrupt:
        return StoreCorrupt(f"{kind} {record_id} in {where} does not decode: {reason}", hint=hint, subject=record_id)

    if kind not in _READERS:
        raise corrupt(f"no such kind of record as {kind!r}")
    try:
        record: Record = _READERS[kind](msgspec.json.decode(body))
    except (Misfit, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise corrupt(str(error)) from error
    if record.id != record_id:
        raise corrupt(f"its id field is {record.id!r}")
    return record


def _encode_value(value: object) -> object:
    """What msgspec does not know itself."""
    if isinstance(value, Mapping):
        return dict(value)
    assert isinstance(value, IPAddress | IPNetwork), f"no JSON form for {value!r}"
    return str(value)

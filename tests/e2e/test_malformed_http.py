"""Bytes that are no request, and bodies that are announced too large: answered at once and in JSON."""

import gzip
import json
import socket
from collections.abc import Iterator

import pytest

from tests.support.daemon import DaemonHost, daemon_host

ANSWERED_WITHIN_S = 2
CREATE = b"POST /networks/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with daemon_host("malformed") as running:
        yield running


def exchange(host: DaemonHost, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, body and head of the answer to some bytes, the connection left open on this side."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(ANSWERED_WITHIN_S)
        client.connect(str(host.socket))
        client.sendall(sent)
        received = b""
        while b"\r\n\r\n" not in received or not received.endswith(b"}\n"):
            part = client.recv(65536)
            assert part, received
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body), head


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02 what is this\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /networks HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /networks HTTP/1.1\r\nX: " + b"y" * 20000 + b"\r\n\r\n",
        CREATE + b"Content-Length: many\r\n\r\n{}",
        CREATE + b"Content-Length: -1\r\n\r\n{}",
        CREATE + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
        CREATE + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    ],
)
def test_what_is_no_request_is_answered_in_json(host: DaemonHost, sent: bytes) -> None:
    before = host.log
    status, body, head = exchange(host, sent)
    assert status == 400
    assert body["message"].startswith("malformed request: ")
    assert "\n" not in body["message"]
    assert len(body["message"]) < 300
    assert b"Content-Type: application/json" in head
    said = host.log.removeprefix(before).splitlines()
    assert len(said) == 1, said
    assert " INFO " in said[0]


@pytest.mark.parametrize("length", [(1 << 20) + 1, 1 << 40])
def test_a_body_that_is_announced_too_large_is_not_waited_for(host: DaemonHost, length: int) -> None:
    before = host.log
    status, body, head = exchange(host, CREATE + f"Content-Length: {length}\r\n\r\n".encode() + b"{")
    assert status == 413
    assert "1048576" in body["message"]
    assert b"Connection: close" in head
    assert host.log == before


def test_what_was_asked_too_much_is_no_error_of_ours(host: DaemonHost) -> None:
    host.must("POST", "/networks/create", {"Name": "small", "IPAM": {"Config": [{"Subnet": "10.66.0.0/31"}]}})
    sandbox = {"Endpoints": [{"Network": "small"}]}
    host.must("POST", "/atoll/sandboxes/create", {"Name": "first", **sandbox})
    before = host.log
    answer = host.ask("POST", "/atoll/sandboxes/create", {"Name": "second", **sandbox})
    assert answer.status == 503
    said = [line for line in host.log.removeprefix(before).splitlines() if "no free address" in line]
    assert len(said) == 1
    assert " INFO " in said[0]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "nosuch"])
def test_encoded_bodies_are_not_unpacked(host: DaemonHost, encoding: str) -> None:
    before = host.log
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(ANSWERED_WITHIN_S)
        client.connect(str(host.socket))
        head = f"GET /_ping HTTP/1.1\r\nHost: x\r\nContent-Encoding: {encoding}\r\nContent-Length: 8\r\n\r\n"
        client.sendall(head.encode() + b"nonsense")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    packed = gzip.compress(b'{"Name": "packed"}')
    answer = host.ask("POST", "/networks/create", raw=packed, headers={"Content-Encoding": encoding})
    assert answer.status == 400 and "not JSON" in answer.message
    assert host.log == before

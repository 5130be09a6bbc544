"""The client's HTTP against raw answers, byte by byte, from a real unix socket."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atoll.cli.http import Client, ServerError, quote
from atoll.errors import Unavailable


@contextmanager
def answering(path: Path, *parts: bytes) -> Iterator[tuple[Client, list[bytes]]]:
    """A server that reads one request and sends `parts`, each by itself, then closes."""
    seen: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                seen.append(connection.recv(65536))
                for part in parts:
                    connection.sendall(part)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Client(str(path)), seen
        thread.join()


@pytest.mark.parametrize(
    "parts",
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}',),
        (b"HTTP/1.1 200 OK\r\nCont", b"ent-Length: 7\r\n", b"\r\n", b'{"a"', b":1}"),
        (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4;ext=1\r\n":1}\r\n0\r\n\r\n',),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r",
            b'\n{"a\r\n4\r\n"',
            b":1}\r\n0\r\n",
            b"X: y\r\n\r\n",
        ),
        (b'HTTP/1.0 200 OK\r\n\r\n{"a":1}',),
    ],
    ids=["length", "length-in-pieces", "chunked", "chunked-in-pieces", "until-the-end"],
)
def test_reads_every_kind_of_body(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    with answering(tmp_path / "s", *parts) as (client, _):
        assert client.get("/x") == {"a": 1}


def test_sends_one_request_with_json_and_a_quoted_query(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b"HTTP/1.1 204 No Content\r\n\r\n") as (client, seen):
        assert client.request("POST", "/networks/create", {"Name": "a b"}, {"dry-run": "1", "f": "ä&="}) == {}
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /networks/create?dry-run=1&f=%C3%A4%26%3D HTTP/1.1"
    assert b"Content-Length: 15" in head
    assert body == b'{"Name": "a b"}'


def test_error_answer_keeps_message_hint_and_detail(tmp_path: Path) -> None:
    body = b'{"message":"no such network","hint":"atoll network ls","detail":"errno 2"}'
    with answering(tmp_path / "s", b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as (
        client,
        _,
    ):
        with pytest.raises(ServerError) as caught:
            client.get("/networks/x")
    error = caught.value
    assert (error.status, error.message, error.hint, error.detail) == (
        404,
        "no such network",
        "atoll network ls",
        "errno 2",
    )


def test_error_answer_that_is_no_json_is_still_told(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops") as (client, _):
        with pytest.raises(ServerError, match="status 502") as caught:
            client.get("/x")
    assert caught.value.detail == "oops"


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"HTTP/1.1 200 OK\r\nContent-Le",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}",),
    ],
    ids=["nothing", "half-a-head", "half-a-body", "half-a-chunk"],
)
def test_a_lost_connection_is_unavailable(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    with answering(tmp_path / "s", *parts) as (client, _), pytest.raises(Unavailable, match="closed the connection"):
        client.get("/x")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{{{",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
    ids=["ssh", "no-json", "no-length", "no-chunk"],
)
def test_another_protocol_is_unavailable(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path / "s", answer) as (client, _), pytest.raises(Unavailable):
        client.get("/x")


def test_stream_gives_each_value_when_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "s"
    go_on = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                connection.sendall(b'9\r\n{"n": 1}\n\r\n')
                go_on.wait(10)
                connection.sendall(b'4\r\n{"n"\r\n')
                connection.sendall(b'10\r\n: 2}\n\n{"n": 3}\n \r\n0\r\n\r\n')

        thread = threading.Thread(target=serve)
        thread.start()
        values = Client(str(path)).stream("/events")
        # The second value is sent only after the first has been read.
        assert next(values) == {"n": 1}
        go_on.set()
        assert list(values) == [{"n": 2}, {"n": 3}]
        thread.join()


def test_no_daemon_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="not running") as caught:
        Client(str(tmp_path / "none")).get("/x")
    assert caught.value.hint == "atoll up"


def test_quote_leaves_nothing_that_could_end_a_segment() -> None:
    assert quote("a/b?c#d e%ä") == "a%2Fb%3Fc%23d%20e%25%C3%A4"
    assert quote("Az09-._~") == "Az09-._~"

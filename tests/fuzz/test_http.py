"""Bytes on the socket: requests that are none, bodies in odd pieces, streams that were asked for oddly."""

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import tries
from tests.fuzz.junk import texts
from tests.fuzz.target import RUNS, STAYS, Target, quoted

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "get", "", "G\0T", "PRI")
PATHS = (
    "/_ping", "/version", "/info", "/networks", "/networks/bridge", "/containers/json", f"/containers/{STAYS}/json",
    f"/containers/{STAYS}/archive?path=/", "/v1.41/images/json", "/v1.99999/networks", "/v/networks",
    "/v1.41//networks",
    "/networks/%00", "/networks/%ff%fe", "/containers/..%2f..%2fetc/json", "/images/%2e%2e/json", "/volumes/%0a",
    "/exec/x/json",
    "/%", "/%zz", "//", "*", "http://x/networks", "/networks?filters=%ff", "/events?until=1&since=0",
    "/networks?" + "a=b&" * 3000,
    "/build", "/session", "/grpc", "/atoll/status", "/atoll/rules", "/containers/%F0%9F%90%9F/json", "?", "/networks#x",
)  # fmt: skip
HEADERS = (
    "Host: x", "Content-Length: 0", "Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: \x0b chunked",
    "Expect: 100-continue",
    "Content-Type: application/json", "Content-Type: \xff", "Content-Type: application/json; charset=utf-99",
    "Content-Encoding: gzip", "Content-Encoding: deflate", "Content-Encoding: br", "Connection: Upgrade",
    "Upgrade: tcp",
    "Upgrade: h2c", "Upgrade: websocket", "HTTP2-Settings: x", "Sec-WebSocket-Key: x", "X-Registry-Auth: !!!",
    "Range: bytes=5-1",
    "X-Registry-Auth: bnVsbA==", "X" * 200 + ": y", "X: " + "y" * 9000, ": z", "no colon", " folded", "X: a\rb",
    "Cookie: a=\0",
    "If-Match: *", "Connection: close", "Connection: keep-alive",
)  # fmt: skip
BODIES = (
    b"", b"{}", b"5\r\n{}   \r\n0\r\n\r\n", b"ffffffffffffffff\r\n{}", b"-5\r\n{}\r\n",
    b"2;ext=1\r\n{}\r\n0\r\nTrailer: x\r\n\r\n",
    b"2\r\n{}", b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"\x1f\x8b\x08\x00nonsense", b"\x00" * 70_000,
    b"GET /_ping HTTP/1.1\r\n\r\n",
)  # fmt: skip
STREAMS = (
    f"/containers/{RUNS}/attach?stream=1&stdin=1&stdout=1", f"/containers/{RUNS}/attach?logs=1",
    f"/containers/{RUNS}/attach",
    f"/containers/{STAYS}/attach?stdin=1&logs=1", f"/containers/{RUNS}/attach?stream=1&detachKeys=ctrl-%00",
    "/exec/nosuch/start",
    "/exec/EXEC/start",
)  # fmt: skip


@tries(150)
@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from(PATHS),
    version=st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP", "http/1.1", ""]),
    headers=st.lists(st.sampled_from(HEADERS), max_size=4),
    body=st.sampled_from(BODIES) | st.binary(max_size=30),
)
def test_requests(target: Target, method: str, path: str, version: str, headers: list[str], body: bytes) -> None:
    head = "\r\n".join([f"{method} {path} {version}", *headers, "", ""]).encode("latin-1")
    assert b" 500 " not in target.raw(head + body)[:20]


@tries(40)
@given(sent=st.binary(max_size=200), begins=st.sampled_from([b"", b"GET ", b"POST /containers/create HTTP/1.1\r\n"]))
def test_bytes(target: Target, sent: bytes, begins: bytes) -> None:
    assert b" 500 " not in target.raw(begins + sent)[:20]


@tries(40)
@given(
    path=st.sampled_from(STREAMS),
    headers=st.lists(st.sampled_from(HEADERS), max_size=3),
    body=st.sampled_from(BODIES) | st.binary(max_size=30),
    upgrade=st.booleans(),
)
def test_streams(target: Target, path: str, headers: list[str], body: bytes, upgrade: bool) -> None:
    if "EXEC" in path:
        wanted = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
        path = path.replace("EXEC", target.host.must("POST", f"/containers/{RUNS}/exec", wanted)["Id"])
    asked = [*headers, "Host: x", *(["Connection: Upgrade", "Upgrade: tcp"] if upgrade else [])]
    head = "\r\n".join([f"POST {path} HTTP/1.1", *asked, "", ""]).encode("latin-1")
    answer = target.raw(head + body, patience_s=0.1)
    assert b" 500 " not in answer[:20]
    assert answer.count(b"HTTP/1.1 ") <= 2


@tries(60)
@given(
    text=texts,
    path=st.sampled_from(["/containers/{}/json", "/networks/{}", "/images/{}/json", "/volumes/{}", "/exec/{}/json"]),
)
def test_references(target: Target, text: str, path: str) -> None:
    target.ask("GET", path.replace("{}", quoted(text)))


@tries(60)
@given(
    texts=st.lists(texts, min_size=3, max_size=3),
    path=st.sampled_from(
        [
            f"POST /containers/{STAYS}/rename?name={{0}}",
            f"POST /containers/{RUNS}/resize?h={{0}}&w={{1}}",
            f"POST /containers/{STAYS}/kill?signal={{0}}",
            f"POST /containers/{STAYS}/stop?t={{0}}&signal={{1}}",
            f"GET /containers/{RUNS}/top?ps_args={{0}}",
            f"GET /containers/{RUNS}/logs?stdout=1&since={{0}}&until={{1}}&tail={{2}}",
            f"HEAD /containers/{RUNS}/archive?path={{0}}",
            f"GET /containers/{STAYS}/archive?path={{0}}",
            "POST /images/busybox/tag?repo={0}&tag={1}",
            "POST /images/create?fromSrc={0}&repo={1}",
            "GET /events?since={0}&until=1",
            "GET /containers/json?limit={0}&all={1}",
            "DELETE /volumes/{0}?force={1}",
            "DELETE /networks/{0}",
        ]
    ),
)
def test_queries(target: Target, texts: list[str], path: str) -> None:
    method, _, pattern = path.partition(" ")
    try:
        target.ask(method, pattern.format(*map(quoted, texts)))
    finally:
        target.restore()

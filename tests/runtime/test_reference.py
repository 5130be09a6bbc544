"""Names of images as Docker reads them."""

import pytest

from atoll.errors import InvalidRequest
from atoll.model.reference import parse_reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "complete", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1", "busybox:1"),
        ("team/app:1.2_x-y", "docker.io/team/app:1.2_x-y", "team/app:1.2_x-y"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/team/app", "localhost:5000/team/app:latest", "localhost:5000/team/app:latest"),
        ("[::1]:5000/app:2", "[::1]:5000/app:2", "[::1]:5000/app:2"),
        ("quay.io/a/b/c", "quay.io/a/b/c:latest", "quay.io/a/b/c:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", f"docker.io/library/busybox:1@{DIGEST}", f"busybox:1@{DIGEST}"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e:latest", "a__b/c-d.e:latest"),
    ],
)
def test_reference_is_completed(text: str, complete: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert (reference.complete, reference.familiar) == (complete, familiar)
    assert parse_reference(reference.complete) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Busybox",
        "busybox:",
        "busybox:a b",
        "busybox:-x",
        "busybox:" + "x" * 129,
        "busybox@sha256:12",
        "busybox@md5:" + "a" * 32,
        "../etc/passwd",
        "a//b",
        "a/./b",
        "-registry.io/a/b",
        "x" * 256,
        "ab" * 32,
        "busybox\n",
        "host:port/app",
    ],
)
def test_reference_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_reference(text)

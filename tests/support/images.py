"""Images for tests: made by umoci and skopeo, kept by a registry that is unpacked and not installed."""

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
READY_TIMEOUT_S = 15


def command(*argv: str | Path) -> str:
    """Run a program; its output."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def make_layout(directory: Path, *tags: str) -> Path:
    """An OCI layout with an image of three layers for each tag: busybox, files in /etc, one of them taken away."""
    layout, tree = directory / "layout", directory / "tree"
    command("umoci", "init", "--layout", layout)
    for tag in tags:
        image = f"{layout}:{tag}"
        shutil.rmtree(tree, ignore_errors=True)
        (tree / "bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", tree / "bin" / "busybox")
        (tree / "etc").mkdir()
        (tree / "etc" / "tag").write_text(f"{tag}\n")
        (tree / "etc" / "gone").write_text("gone\n")
        command("umoci", "new", "--image", image)
        command("umoci", "insert", "--image", image, tree / "bin", "/bin")
        command("umoci", "insert", "--image", image, tree / "etc", "/etc")
        command("umoci", "insert", "--image", image, "--whiteout", "/etc/gone")
        words = ("/bin/busybox", "sh", "-c", "cat /etc/tag; ls /etc")
        cmd = [option for word in words for option in ("--config.cmd", word)]
        command(
            "umoci", "config", "--image", image, *cmd, "--config.env", "PATH=/bin", "--config.exposedports", "80/tcp"
        )
        for applet in ("sh", "cat", "ls"):
            link = tree / "bin" / applet
            link.unlink(missing_ok=True)
            link.symlink_to("busybox")
            command("umoci", "insert", "--image", image, link, f"/bin/{applet}")
    return layout


@contextmanager
def registry(directory: Path, port: int = 5000) -> Iterator[str]:
    """A registry on this thread's loopback; its address."""
    unpacked = Path(command(ROOT / "scripts" / "unpack", "registry", "docker-registry").strip())
    config = directory / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/registry}}}}\n"
    )
    with (directory / "registry.log").open("wb") as log:
        serve = [str(unpacked / "usr/bin/docker-registry"), "serve", str(config)]
        process = subprocess.Popen(serve, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < deadline, (directory / "registry.log").read_text()
            time.sleep(0.05)
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

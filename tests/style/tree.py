"""The code base as the style tests see it: tracked files, modules, syntax trees."""

import ast
import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"


@functools.cache
def tracked_files() -> tuple[Path, ...]:
    """What is in the repository or would be with the next `git add`, sorted."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return tuple(sorted(path for name in names if name and (path := ROOT / name).is_file()))


@functools.cache
def modules() -> dict[str, Path]:
    """Modules of the package by dotted name."""
    found = {}
    for path in tracked_files():
        if path.is_relative_to(SOURCE) and path.suffix == ".py":
            parts = path.relative_to(SOURCE).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text(), str(path))


def room_of(module: str) -> str:
    """`atoll.kernel.nft.codec` is in the room `kernel`; `atoll.errors` is a room of its own, `atoll` is ``."""
    return module.partition(".")[2].partition(".")[0]


def imports_of(module: str) -> set[str]:
    """Modules of the package that a module imports, at its top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree_of(modules()[module])):
        match node:
            case ast.Import(names):
                found.update(alias.name for alias in names)
            case ast.ImportFrom(module=str(source), level=0, names=names):
                # `from atoll import kernel` names a module, `from atoll.errors import NotFound` doesn't.
                full = {f"{source}.{alias.name}" for alias in names}
                found.update(full & modules().keys() or {source})
            case ast.ImportFrom(level=level) if level:
                raise AssertionError(f"{module}: relative import in line {node.lineno}")
    return {name for name in found if name.split(".")[0] == "atoll"}

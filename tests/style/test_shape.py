"""Functions fit a screen, modules can be read in one sitting, and what is public says what types can't."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.style.tree import ROOT, modules, tracked_files, tree_of

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 400
TEST_MODULE_LINES_MAX = 600
"""Tests are read one by one."""

PYTHON = [path for path in tracked_files() if path.suffix == ".py"]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def show(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PYTHON, ids=show)
def test_length(path: Path) -> None:
    lines_max = TEST_MODULE_LINES_MAX if path.name.startswith("test_") else MODULE_LINES_MAX
    assert len(path.read_text().splitlines()) <= lines_max
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} in line {node.lineno} has {lines} lines"


@pytest.mark.parametrize("module", sorted(modules()))
def test_public_things_have_docstrings(module: str) -> None:
    tree = tree_of(modules()[module])
    assert ast.get_docstring(tree), "the module has none"
    for name, node in _public(tree):
        assert ast.get_docstring(node), f"{name} in line {node.lineno} has none"


def _public(scope: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions and classes, and public methods of public classes."""
    for node in scope.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _public(node, f"{prefix}{node.name}.")


@pytest.mark.parametrize("module", sorted(modules()))
def test_modules_hold_no_mutable_state(module: str) -> None:
    """A constant table may be a dict; nothing may change it, and `global` may not exist."""
    tree = tree_of(modules()[module])
    constants = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Global), f"global in line {node.lineno}"
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=verb)) if name in constants:
                assert verb not in {"append", "add", "update", "pop", "clear", "setdefault", "extend", "remove"}, (
                    f"{name} is changed in line {node.lineno}"
                )
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()) if name in constants:
                raise AssertionError(f"{name} is changed in line {node.lineno}")

"""`pytest tests/golden --update-golden` writes what the compilers say now; read the difference before keeping it."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected steps")

"""Values in a template's braces: fields, variables, constants, functions and pipelines.

Law: pure. Source: https://pkg.go.dev/text/template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping

from atoll.errors import InvalidRequest

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

    Variables = Mapping[str, Any]
    Operand = Callable[[Any, Variables], Any]

_WORD = re.compile(r'\s*("(?:[^"\\]|\\.)*"|`[^`]*`|-?\d+|\$?[A-Za-z_]\w*|\$|\.[A-Za-z_]\w*|:=|[.(),|])')


def go_text(value: Any) -> str:
    """A value as Go's `%v` prints it: true, [a b], map[k:v], <no value>."""
    match value:
        case None:
            return "<no value>"
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "map[" + " ".join(f"{key}:{go_text(inner)}" for key, inner in sorted(value.items())) + "]"
        case list():
            return "[" + " ".join(map(go_text, value)) + "]"
        case _:
            return str(value)


def go_json(value: Any) -> str:
    """A value as Go's encoding/json writes it: no blanks, and nothing that HTML would take for a tag."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def expression(text: str) -> Operand:
    """Parse what stands between the braces to a function of dot and the variables. Both raise InvalidRequest."""
    words = list(_words(text))
    value, rest = _pipeline(words)
    if rest:
        raise InvalidRequest(f"invalid template: unexpected {rest[0]!r} in {{{{{text.strip()}}}}}")
    return value


def _words(text: str) -> Iterator[str]:
    position = 0
    while text[position:].strip():
        match = _WORD.match(text, position)
        if not match:
            raise InvalidRequest(f"invalid template: can't read {text[position:].strip()!r}")
        # A field glued to what is before it belongs to that; one after a space is a new operand.
        glued = match.group(1).startswith(".") and match.start(1) == position > 0 and text[position - 1] not in "(|,="
        yield ("&" if glued else "") + match.group(1)
        position = match.end()


def _pipeline(words: list[str]) -> tuple[Operand, list[str]]:
    value, words = _command(words, None)
    while words and words[0] == "|":
        value, words = _command(words[1:], value)
    return value, words


def _command(words: list[str], piped: Operand | None) -> tuple[Operand, list[str]]:
    operands: list[Operand] = []
    name = words.pop(0) if words and re.match(r"[A-Za-z_]", words[0]) and words[0] not in _CONSTANTS else ""
    while words and words[0] not in (")", "|"):
        operand, words = _operand(words)
        operands.append(operand)
    if piped is not None:
        operands.append(piped)
    if name:
        function = _FUNCTIONS.get(name)
        if function is None:
            raise InvalidRequest(f"invalid template: no function {name!r}; there are {', '.join(sorted(_FUNCTIONS))}")
        return lambda dot, variables: _call(name, function, [each(dot, variables) for each in operands]), words
    if len(operands) > 1:
        # A method with its arguments, as `.Label "key"` of Docker's lists.
        return lambda dot, variables: _applied(*(each(dot, variables) for each in operands)), words
    if not operands:
        raise InvalidRequest("invalid template: an action needs one value, or a function and its values")
    return operands[0], words


def _operand(words: list[str]) -> tuple[Operand, list[str]]:
    word, words = words[0], words[1:]
    value: Operand
    if word == "(":
        value, words = _pipeline(words)
        if not words or words[0] != ")":
            raise InvalidRequest("invalid template: '(' is not closed")
        words = words[1:]
    elif word.startswith("$"):
        value = _variable(word[1:])
    elif word.startswith("."):
        value = _field(word[1:]) if len(word) > 1 else (lambda dot, variables: dot)
    elif word in _CONSTANTS or word[0] in '"`-0123456789':
        constant = _CONSTANTS[word] if word in _CONSTANTS else word[1:-1] if word[0] == "`" else json.loads(word)
        value = lambda dot, variables: constant  # noqa: E731
    else:
        raise InvalidRequest(f"invalid template: unexpected {word!r}")
    while words and words[0].startswith("&."):
        value, words = _chained(value, words[0][2:]), words[1:]
    return value, words


def _variable(name: str) -> Operand:
    def get(dot: Any, variables: Variables) -> Any:
        if name not in variables:
            raise InvalidRequest(f"invalid template: undefined variable ${name}")
        return variables[name]

    return get


def _field(name: str) -> Operand:
    return lambda dot, variables: _get(dot, name)


def _chained(value: Operand, name: str) -> Operand:
    return lambda dot, variables: _get(value(dot, variables), name)


def _get(value: Any, name: str) -> Any:
    if isinstance(value, Mapping) and name in value:
        return value[name]
    if value is None:
        return None
    known = f"; there are {', '.join(value)}" if isinstance(value, Mapping) and value else ""
    raise InvalidRequest(f"template: no field {name!r}{known}")


def _applied(method: Any, *values: Any) -> Any:
    if not callable(method):
        raise InvalidRequest("invalid template: an action needs one value, or a function and its values")
    return method(*values)


def _call(name: str, function: Callable[..., Any], values: list[Any]) -> Any:
    try:
        return function(*values)
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest(f"template: cannot call {name} with {json.dumps(values)}", detail=str(error)) from None


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        try:
            value = value[key]
        except KeyError:
            return ""
        except IndexError:
            raise InvalidRequest(f"template: index {key} is out of range: there are {len(value)}") from None
    return value


_CONSTANTS = {"true": True, "false": False, "nil": None}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": go_json,
    "upper": lambda text: text.upper(),
    "lower": lambda text: text.lower(),
    "join": lambda items, separator: separator.join(items),
    "index": _index,
    "len": len,
    "println": lambda *values: " ".join(map(go_text, values)) + "\n",
    "not": lambda value: not value,
    "eq": lambda value, *others: value in others,
}

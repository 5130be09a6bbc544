"""The part of Go's text/template that `--format` needs.

    {{.Name}}  {{.IPAM.Config}}  {{json .}}  {{index .Options "key"}}  {{(index .IPAM.Config 0).Subnet}}
    {{range .IPAM.Config}}{{.Subnet}} {{else}}none{{end}}  {{range $name, $net := .Networks}}...{{end}}
    {{if .Internal}}...{{else}}...{{end}}  {{join .Aliases ","}}  {{upper .Name}}  {{.Labels | json}}  {{- trims -}}

Law: pure. Source: https://pkg.go.dev/text/template, and the functions of Docker's CLI.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from atoll.errors import InvalidRequest

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

    Variables = Mapping[str, Any]
    Node = Callable[[Any, Variables], str]
    Operand = Callable[[Any, Variables], Any]

_ACTION = re.compile(r"(\s*)\{\{(- )?(.*?)( -)?\}\}(\s*)", re.DOTALL)
_WORD = re.compile(r'\s*("(?:[^"\\]|\\.)*"|`[^`]*`|-?\d+|\$?[A-Za-z_]\w*|\$|\.[A-Za-z_]\w*|:=|[.(),|])')
_RANGE = re.compile(r"range(?:\s+(?:\$(\w+)\s*,\s*)?\$(\w+)\s*:=)?\s+(.*)\Z", re.DOTALL)


class Template:
    """A parsed template. Raises InvalidRequest naming what can't be parsed."""

    def __init__(self, text: str) -> None:
        self._parts = _split(text.replace("\\t", "\t").replace("\\n", "\n"))
        self._position = 0
        self._body, end = self._block()
        if end:
            raise InvalidRequest(f"invalid template: {{{{{end}}}}} without a range or if before it")

    def render(self, value: Any) -> str:
        """The text for one value, as decoded from JSON. Raises InvalidRequest naming a field that isn't there."""
        return self._body(value, {"": value})

    def _block(self) -> tuple[Node, str]:
        """Parse up to the end, an `else` or an `end`: what is there, and the word that ended it."""
        nodes: list[Node] = []
        while self._position < len(self._parts):
            text, action = self._parts[self._position]
            self._position += 1
            if text:
                nodes.append(lambda dot, variables, text=text: text)  # type: ignore[misc]
            if action in ("end", "else"):
                return _sequence(nodes), action
            if action:
                nodes.append(self._action(action))
        return _sequence(nodes), ""

    def _action(self, action: str) -> Node:
        keyword = action.split(None, 1)[0]
        if keyword == "range":
            return self._range(action)
        if keyword == "if":
            condition = _expression(action[2:])
            body, otherwise = self._bodies(action)
            return lambda dot, variables: (body if condition(dot, variables) else otherwise)(dot, variables)
        expression = _expression(action)
        return lambda dot, variables: go_text(expression(dot, variables))

    def _range(self, action: str) -> Node:
        match = _RANGE.match(action)
        if not match:
            raise InvalidRequest(f"invalid template: can't read {{{{{action}}}}}")
        key_name, value_name, source = match.groups()
        items = _expression(source)
        body, otherwise = self._bodies(action)

        def render(dot: Any, variables: Variables) -> str:
            found = items(dot, variables) or ()
            pairs = sorted(found.items()) if isinstance(found, Mapping) else list(enumerate(found))
            if not pairs:
                return otherwise(dot, variables)
            named = {key_name: 0, value_name: 1}
            return "".join(
                body(pair[1], {**variables, **{name: pair[at] for name, at in named.items() if name}}) for pair in pairs
            )

        return render

    def _bodies(self, action: str) -> tuple[Node, Node]:
        body, end = self._block()
        otherwise = _sequence([])
        if end == "else":
            otherwise, end = self._block()
        if end != "end":
            raise InvalidRequest(f"invalid template: {{{{{action}}}}} has no {{{{end}}}}")
        return body, otherwise


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


def _split(text: str) -> list[tuple[str, str]]:
    """Alternating literal text and the action that follows it; the last action is ""."""
    parts: list[tuple[str, str]] = []
    position, trim = 0, False
    for match in _ACTION.finditer(text):
        before, trim_before, action, trim_after, _ = match.groups()
        literal = text[position : match.start()] + ("" if trim_before else before)
        parts.append((literal.lstrip() if trim else literal, action.strip()))
        if not action.strip():
            raise InvalidRequest("invalid template: {{}} is empty")
        position, trim = match.end(4) if trim_after else match.end(3), bool(trim_after)
        position = text.index("}}", position) + 2
    rest = text[position:]
    if "{{" in rest:
        raise InvalidRequest(f"invalid template: {rest[rest.index('{{') :]!r} is not closed")
    parts.append((rest.lstrip() if trim else rest, ""))
    return parts


def _sequence(nodes: Sequence[Node]) -> Node:
    return lambda dot, variables: "".join(node(dot, variables) for node in nodes)


def _expression(text: str) -> Operand:
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
    if len(operands) != 1:
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
    "json": json.dumps,
    "upper": lambda text: text.upper(),
    "lower": lambda text: text.lower(),
    "join": lambda items, separator: separator.join(items),
    "index": _index,
    "len": len,
    "println": lambda *values: " ".join(map(go_text, values)) + "\n",
    "not": lambda value: not value,
    "eq": lambda value, *others: value in others,
}

"""The part of Go's text/template that `--format` needs.

    {{.Name}}  {{.IPAM.Config}}  {{json .}}  {{index .Options "key"}}  {{(index .IPAM.Config 0).Subnet}}
    {{range .IPAM.Config}}{{.Subnet}} {{else}}none{{end}}  {{range $name, $net := .Networks}}...{{end}}
    {{if .Internal}}...{{else}}...{{end}}  {{join .Aliases ","}}  {{upper .Name}}  {{.Labels | json}}  {{- trims -}}

Law: pure. Source: https://pkg.go.dev/text/template, and the functions of Docker's CLI.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from atoll.cli.template_values import expression, go_text
from atoll.errors import InvalidRequest

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

    Variables = Mapping[str, Any]
    Node = Callable[[Any, Variables], str]

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
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
            condition = expression(action[2:])
            body, otherwise = self._bodies(action)
            return lambda dot, variables: (body if condition(dot, variables) else otherwise)(dot, variables)
        value = expression(action)
        return lambda dot, variables: go_text(value(dot, variables))

    def _range(self, action: str) -> Node:
        match = _RANGE.match(action)
        if not match:
            raise InvalidRequest(f"invalid template: can't read {{{{{action}}}}}")
        key_name, value_name, source = match.groups()
        items = expression(source)
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


def _split(text: str) -> list[tuple[str, str]]:
    """Literal texts, each with the action that follows it; the last one's action is ""."""
    parts: list[tuple[str, str]] = []
    position, trim = 0, False
    for match in _ACTION.finditer(text):
        trim_before, action, trim_after = match.groups()
        if not action.strip():
            raise InvalidRequest("invalid template: {{}} is empty")
        literal = text[position : match.start()]
        literal = literal.lstrip() if trim else literal
        parts.append((literal.rstrip() if trim_before else literal, action.strip()))
        position, trim = match.end(), bool(trim_after)
    rest = text[position:]
    if "{{" in rest:
        raise InvalidRequest(f"invalid template: {rest[rest.index('{{') :]!r} is not closed")
    parts.append((rest.lstrip() if trim else rest, ""))
    return parts


def _sequence(nodes: Sequence[Node]) -> Node:
    return lambda dot, variables: "".join(node(dot, variables) for node in nodes)

"""`--format` templates against the text that Go's text/template gives."""

from typing import Any

import pytest

from atoll.cli.template import Template
from atoll.errors import InvalidRequest

NETWORK: dict[str, Any] = {
    "Name": "front",
    "Internal": False,
    "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.5.0.0/16"}, {"Subnet": "fd00::/64"}]},
    "Options": {"com.docker.network.driver.mtu": "1400"},
    "Labels": {},
    "Aliases": ["db", "database"],
    "Networks": {"back": {"IPAddress": "10.6.0.2"}, "a": {"IPAddress": "10.7.0.2"}},
    "ConfigFrom": None,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{.Name}}", "front"),
        ("{{ .Name }}-{{.Name}}", "front-front"),
        (r"{{.Name}}\t{{.Internal}}\n", "front\tfalse\n"),
        ("{{.IPAM.Driver}}", "default"),
        ("{{.IPAM.Config}}", "[map[Subnet:10.5.0.0/16] map[Subnet:fd00::/64]]"),
        ("{{json .IPAM.Config}}", '[{"Subnet":"10.5.0.0/16"},{"Subnet":"fd00::/64"}]'),
        ("{{.Aliases | json}}", '["db","database"]'),
        ("{{json .Name | upper}}", '"FRONT"'),
        ("{{upper .Name}}", "FRONT"),
        ('{{join .Aliases ","}}', "db,database"),
        ('{{index .Options "com.docker.network.driver.mtu"}}', "1400"),
        ('{{index .Labels "none"}}', ""),
        ("{{(index .IPAM.Config 1).Subnet}}", "fd00::/64"),
        ("{{range .IPAM.Config}}{{.Subnet}} {{end}}", "10.5.0.0/16 fd00::/64 "),
        ("{{range .Labels}}x{{else}}none{{end}}", "none"),
        ("{{range $i, $alias := .Aliases}}{{$i}}={{$alias}};{{end}}", "0=db;1=database;"),
        (
            "{{range $name, $at := .Networks}}{{$name}} {{$at.IPAddress}} {{$.Name}}\n{{end}}",
            "a 10.7.0.2 front\nback 10.6.0.2 front\n",
        ),
        ("{{if .Internal}}in{{else}}out{{end}}", "out"),
        ("{{if not .Internal}}open{{end}}", "open"),
        ('{{if eq .Name "front"}}yes{{end}}', "yes"),
        ("{{if .Labels}}x{{end}}", ""),
        ("{{range .Aliases}}{{if eq . `db`}}[{{.}}]{{end}}{{end}}", "[db]"),
        ("a {{- .Name -}} b", "afrontb"),
        ("a {{.Name}} b", "a front b"),
        ("{{len .Aliases}}", "2"),
        ("{{.ConfigFrom}}", "<no value>"),
        ('{{"}"}}', "}"),
    ],
)
def test_renders_as_go_does(template: str, text: str) -> None:
    assert Template(template).render(NETWORK) == text


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("{{.Nme}}", "Nme"),
        ("{{.IPAM.Confg}}", "Confg"),
        ("{{nosuch .Name}}", "nosuch"),
        ("{{.Name", "not closed"),
        ("{{}}", "empty"),
        ("{{end}}", "end"),
        ("{{range .Aliases}}", "range .Aliases"),
        ("{{range}}{{end}}", "range"),
        ("{{if .Name}}x{{else}}y", "if .Name"),
        ("{{.Name .Name}}", "one value"),
        ("{{(.Name}}", "not closed"),
        ("{{.Name)}}", ")"),
        ("{{#}}", "#"),
        ("{{$x}}", "$x"),
        ("{{len .Internal}}", "len"),
        ("{{index .Aliases 7}}", "7"),
        ("{{join .Name}}", "join"),
    ],
)
def test_names_what_it_cannot_do(template: str, named: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Template(template).render(NETWORK)
    assert named in caught.value.message


def test_no_field_lists_those_that_are_there() -> None:
    with pytest.raises(InvalidRequest, match="there are Name, Internal, IPAM"):
        Template("{{.X}}").render(NETWORK)

"""values.yaml, its schema and its reference say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from workshop import chart
from workshop.project import read

VALUES = read(f"{chart.CHART}/values.yaml")
SCHEMA = json.loads(read(f"{chart.CHART}/values.schema.json"))
OPEN = {"global", "resources.requests", "resources.limits"}
"""Members that the schema leaves open: what a parent chart sets, and resources of any name."""


def leaves(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, member in schema["properties"].items():
        path = f"{prefix}{name}"
        if "properties" in member:
            yield from leaves(member, f"{path}.")
        else:
            yield path


def objects(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield prefix, schema
    for name, member in schema.get("properties", {}).items():
        yield from objects(member, f"{prefix}.{name}")


def test_every_value_is_commented() -> None:
    uncommented = [value.path for value in chart.values(VALUES) if not value.description]
    assert uncommented == []


def test_values_and_schema_list_the_same() -> None:
    documented = {value.path for value in chart.values(VALUES)}
    in_schema = set(leaves(SCHEMA))
    assert {path for path in documented if path.rpartition(".")[0] not in OPEN} == in_schema - OPEN


def test_the_schema_is_strict_and_describes_everything() -> None:
    for path, member in objects(SCHEMA):
        assert member.get("description"), path
        if "properties" in member:
            assert member["additionalProperties"] is False, path


def test_the_comment_of_a_value_is_read_over_several_lines() -> None:
    text = "outer:\n  # -- First\n  # second.\n  inner: 3\n# Not a description.\nother: x\n"
    assert chart.values(text) == [chart.Value("outer.inner", "3", "First second."), chart.Value("other", "x", "")]


def test_defaults_are_what_the_file_says() -> None:
    parsed = yaml.safe_load(VALUES)
    for value in chart.values(VALUES):
        found = parsed
        for key in value.path.split("."):
            found = found[key]
        assert yaml.safe_load(value.default) == found

"""The generated CustomResourceDefinitions: up to date, and what the API's conventions ask of them."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from housekeeper_api.schema.__main__ import COMMAND, differences, generated_files, main, write

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
FILES = sorted(name for name in os.listdir(os.path.join(ROOT, "crds")) if name.endswith(".yaml"))

Schema = dict[str, Any]


@functools.cache
def crd(file: str) -> dict[str, Any]:
    with open(os.path.join(ROOT, "crds", file), encoding="utf-8") as text:
        loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def schemas(file: str) -> Iterator[tuple[str, Schema]]:
    """Every schema of a file with its path, but for the metadata that every object has."""
    root = crd(file)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    yield "", root
    for member in ("spec", "status"):
        yield from below(member, root["properties"][member])


def below(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, member in schema.get("properties", {}).items():
        yield from below(f"{path}.{name}", member)
    if "items" in schema:
        yield from below(f"{path}[]", schema["items"])
    if "additionalProperties" in schema:
        yield from below(f"{path}{{}}", schema["additionalProperties"])


def test_there_is_one_for_each_kind() -> None:
    assert FILES == [
        "housekeeper.dev_cleanuppolicies.yaml",
        "housekeeper.dev_healthchecks.yaml",
        "housekeeper.dev_maintenanceruns.yaml",
    ]


@pytest.mark.parametrize("file", FILES)
def test_every_schema_has_a_plain_type(file: str) -> None:
    """No floats, and nothing that makes a schema hard to read for a person, an editor or a generator of clients."""
    allowed = {"object", "array", "string", "integer", "boolean"}
    for path, schema in schemas(file):
        assert schema.get("x-kubernetes-int-or-string") or schema["type"] in allowed, path
        forbidden = {
            "nullable",
            "anyOf",
            "oneOf",
            "allOf",
            "not",
            "$ref",
            "x-kubernetes-preserve-unknown-fields",
            "title",
        }
        assert not forbidden & schema.keys(), path


@pytest.mark.parametrize("file", FILES)
def test_everything_is_bounded(file: str) -> None:
    for path, schema in schemas(file):
        if schema.get("x-kubernetes-int-or-string"):
            assert {"pattern", "maxLength", "minimum", "maximum"} <= schema.keys(), path
        elif schema["type"] == "string":
            assert "enum" in schema or "maxLength" in schema, path
        elif schema["type"] == "integer":
            assert {"minimum", "maximum"} <= schema.keys(), path
        elif schema["type"] == "array":
            assert "maxItems" in schema, path
        elif schema["type"] == "object":
            assert "properties" in schema or {"additionalProperties", "maxProperties"} <= schema.keys(), path


@pytest.mark.parametrize("file", FILES)
def test_every_list_says_how_it_is_merged(file: str) -> None:
    for path, schema in schemas(file):
        if schema.get("type") == "array":
            assert schema["x-kubernetes-list-type"] in {"atomic", "map"}, path
            for key in schema.get("x-kubernetes-list-map-keys", ()):
                assert key in schema["items"]["required"], f"{path}: the key {key} may be absent"


@pytest.mark.parametrize("file", FILES)
def test_every_field_is_described(file: str) -> None:
    for path, schema in schemas(file):
        if not path.endswith(("[]", "{}")) or "properties" in schema:
            assert schema.get("description", "").endswith((".", "?", ".)")), path


@pytest.mark.parametrize("file", FILES)
def test_no_name_is_a_boolean_to_yaml(file: str) -> None:
    for path, schema in schemas(file):
        for name in schema.get("properties", {}):
            assert name.lower() not in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}, f"{path}.{name}"


@pytest.mark.parametrize("file", FILES)
def test_every_rule_has_a_sentence_and_a_reason(file: str) -> None:
    for path, schema in schemas(file):
        for rule in schema.get("x-kubernetes-validations", ()):
            assert {"rule", "message", "reason"} <= rule.keys(), path
            assert len(rule["message"]) <= 256, f"{path}: {rule['message']}"


@pytest.mark.parametrize("file", FILES)
def test_a_status_has_no_defaults(file: str) -> None:
    """What is absent from a status was not said."""
    for path, schema in schemas(file):
        assert not (path.startswith("status") and "default" in schema), path


@pytest.mark.parametrize("file", FILES)
def test_the_definition_follows_the_conventions(file: str) -> None:
    spec = crd(file)["spec"]
    (version,) = spec["versions"]
    assert spec["scope"] == "Namespaced"
    assert spec["names"]["categories"] == ["housekeeper"]
    assert spec["names"]["shortNames"] == [
        {"cleanuppolicies": "clp", "healthchecks": "hck", "maintenanceruns": "mrun"}[spec["names"]["plural"]]
    ]
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]][-1] == "Age"
    conditions = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_the_generated_files_are_up_to_date() -> None:
    assert differences(ROOT) == "", f"run: {COMMAND}"


def test_check_names_the_command_that_writes_what_differs(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert COMMAND in said.err
    assert "+kind: CustomResourceDefinition" in said.out


def test_write_writes_once(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["write", "--root", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(generated_files(str(tmp_path)))
    assert write(str(tmp_path)) == []
    assert main(["check", "--root", str(tmp_path)]) == 0


def test_the_reference_names_every_field() -> None:
    with open(os.path.join(ROOT, "docs", "reference", "api.md"), encoding="utf-8") as file:
        page = file.read()
    for file_name in FILES:
        for path, schema in schemas(file_name):
            for name in schema.get("properties", {}):
                if path:
                    assert f"| `{name}` |" in page, f"{path}.{name}"

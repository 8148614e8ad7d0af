"""Schemas for kubeconform are as strict as the API server, and no stricter."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from workshop.kubernetes_schemas import stricter


@pytest.mark.parametrize(
    ("schema", "value", "holds"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": "x"}, True),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {"b": "x"}, False),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"any": "x"}, True),
        ({"type": "object", "properties": {}, "x-kubernetes-preserve-unknown-fields": True}, {"any": "x"}, True),
        ({"type": "string", "format": "int-or-string"}, 3, True),
        ({"x-kubernetes-int-or-string": True}, "50%", True),
        ({"x-kubernetes-int-or-string": True}, [], False),
        ({"type": "string", "description": "Quantity is a fixed-point representation of …"}, 2, True),
        ({"type": "object", "properties": {"properties": {"type": "integer"}}}, {"properties": 1}, True),
        ({"type": "array", "items": {"type": "object", "properties": {"a": {}}}}, [{"b": 1}], False),
    ],
)
def test_stricter(schema: dict[str, Any], value: Any, holds: bool) -> None:
    assert jsonschema.Draft7Validator(stricter(schema)).is_valid(value) is holds

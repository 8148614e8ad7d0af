"""From pydantic models to structural schemas: what the API server takes, with defaults, bounds, CEL, descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from housekeeper_api.durations import Duration
from housekeeper_api.fields.base import Model, StatusModel
from housekeeper_api.fields.rules import VALIDATIONS
from housekeeper_api.schema.descriptions import class_description, field_description

_REFERENCE = "#/$defs/"


class StructuralSchema(GenerateJsonSchema):
    """JSON Schema as a CustomResourceDefinition wants it: nothing nullable, no titles, defaults as they are stored."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """None is "absent", and absent is not a value."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Defaults as plain values. Those of an object are written out: CEL looks at a default as it stands."""
        json_schema = self.generate_inner(schema["schema"])
        factory = schema.get("default_factory")
        default = cast("Any", factory)() if factory is not None else schema.get("default")
        if default is None:
            return json_schema
        return {**json_schema, "default": _stored(default)}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """A model with its descriptions and its rules."""
        json_schema = super().model_schema(schema)
        cls = cast("type[BaseModel]", schema["cls"])
        # A structural schema prunes what it does not know (or refuses it, as the client asks).
        json_schema.pop("additionalProperties", None)
        json_schema["description"] = class_description(cls)
        for attribute, field in cls.model_fields.items():
            member = json_schema["properties"][field.alias or attribute]
            if description := field_description(cls, attribute):
                member["description"] = description
            if issubclass(cls, StatusModel):
                # What is absent from a status was not said; it must not be made up on the way.
                member.pop("default", None)
        if issubclass(cls, Model) and (cls.constraints or cls.transitions):
            json_schema[VALIDATIONS] = [
                *(rule.as_validation() for rule in cls.constraints),
                *(rule.as_validation() for rule in cls.transitions),
            ]
        return json_schema

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """A map from texts; the names of its keys are no schema of their own here."""
        json_schema = super().dict_schema(schema)
        json_schema.pop("propertyNames", None)
        return json_schema


def definitions(model: type[BaseModel]) -> tuple[JsonSchemaValue, dict[str, JsonSchemaValue]]:
    """The schema of a model, with references, and the models that it refers to, by name."""
    schema = model.model_json_schema(by_alias=True, schema_generator=StructuralSchema, mode="validation")
    found = schema.pop("$defs", {})
    return _without_titles(schema), {name: _without_titles(definition) for name, definition in found.items()}


def structural_schema(model: type[BaseModel]) -> JsonSchemaValue:
    """The schema of a model with all references written out."""
    schema, found = definitions(model)
    return _ordered(_inlined(schema, found))


def referred_name(schema: Mapping[str, Any]) -> str | None:
    """Name of the definition that a schema refers to, if it does."""
    reference = schema.get("$ref")
    return None if reference is None else str(reference).removeprefix(_REFERENCE)


def _stored(value: Any) -> Any:
    if isinstance(value, Model):
        return value.to_object()
    if isinstance(value, tuple):
        return [_stored(item) for item in value]
    return str(value) if isinstance(value, Duration) else value


def _inlined(schema: Any, found: Mapping[str, JsonSchemaValue]) -> Any:
    if isinstance(schema, dict):
        name = referred_name(schema)
        if name is not None:
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return _inlined({**found[name], **beside}, found)
        return {key: _inlined(value, found) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_inlined(item, found) for item in schema]
    return schema


def _without_titles(schema: Any) -> Any:
    if isinstance(schema, dict):
        # A title is a text; a property of that name would be a schema.
        return {
            key: _without_titles(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)
        }
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    return schema


_ORDER = ("description", "type", "format", "enum", "default")
_LAST = ("required", "properties", "items", "additionalProperties", VALIDATIONS)


def _ordered(schema: JsonSchemaValue) -> JsonSchemaValue:
    """The same schema, with its members in an order that reads well."""
    ordered = {key: schema[key] for key in _ORDER if key in schema}
    ordered |= {key: value for key, value in schema.items() if key not in _ORDER and key not in _LAST}
    for key in _LAST:
        if key not in schema:
            continue
        if key == "properties":
            ordered[key] = {name: _ordered(member) for name, member in schema[key].items()}
        elif key in {"items", "additionalProperties"}:
            ordered[key] = _ordered(schema[key])
        else:
            ordered[key] = schema[key]
    return ordered

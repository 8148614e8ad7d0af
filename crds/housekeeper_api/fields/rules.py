"""Rules of validation, each said once: as CEL for the API server, as Python for everybody else, with one sentence.

A rule about one value stands in its `Annotated` type; a rule about several members stands in `Model.constraints`. The
table of manifests below tests/data is what holds the two halves together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

Reason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]

VALIDATIONS = "x-kubernetes-validations"
RULE_ERROR = "rule"
RULES_ERROR = "rules"


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One rule. It is broken where `holds` is false; `message` says what to write instead."""

    cel: str
    """The same as `holds`, about `self`."""
    holds: Callable[[Any], bool]
    """Takes the value (of `Model.constraints`: the model)."""
    message: str
    field_path: str = ""
    """Below the value, such as `.maxBackoff`: what the message is about."""
    reason: Reason = "FieldValueInvalid"

    def as_validation(self) -> dict[str, str]:
        """The rule as a member of `x-kubernetes-validations`."""
        return _validation(self.cel, self.message, self.field_path, self.reason)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the value after it is read."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Write the CEL half into the schema."""
        json_schema = handler(schema)
        json_schema.setdefault(VALIDATIONS, []).append(self.as_validation())
        return json_schema

    def _check(self, value: Any) -> Any:
        if not self.holds(value):
            raise PydanticCustomError(RULE_ERROR, "{message}", {"message": self.message, "field_path": self.field_path})
        return value


@dataclasses.dataclass(frozen=True, slots=True)
class TransitionRule:
    """A rule about a change (`oldSelf`). Only the API server sees both sides of one."""

    cel: str
    message: str
    field_path: str = ""
    reason: Reason = "FieldValueForbidden"

    def as_validation(self) -> dict[str, str]:
        """The rule as a member of `x-kubernetes-validations`."""
        return _validation(self.cel, self.message, self.field_path, self.reason)


@dataclasses.dataclass(frozen=True, slots=True)
class Schema:
    """Members that the CRD's schema has besides what pydantic knows (`x-kubernetes-list-type` …)."""

    members: tuple[tuple[str, Any], ...]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the members."""
        json_schema = handler(schema)
        json_schema.update(dict(self.members))
        return json_schema


@dataclasses.dataclass(frozen=True, slots=True)
class MapList:
    """A list whose items are told apart by one member: the API server refuses two with the same one, and so do we."""

    key: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check for duplicates after the list is read."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say so in the schema."""
        json_schema = handler(schema)
        json_schema["x-kubernetes-list-type"] = "map"
        json_schema["x-kubernetes-list-map-keys"] = [self.key]
        return json_schema

    def _check(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        seen = set()
        for index, item in enumerate(items):
            value = getattr(item, self.key)
            if value in seen:
                context = {"message": f"Duplicate value: {self.key} {value} is taken", "field_path": f"[{index}]"}
                raise PydanticCustomError(RULE_ERROR, "{message}", context)
            seen.add(value)
        return items


ATOMIC_LIST = Schema((("x-kubernetes-list-type", "atomic"),))
"""A list that is one value: whoever applies it owns all of it."""
ATOMIC_OBJECT = Schema((("x-kubernetes-map-type", "atomic"),))
"""An object that is one value."""


def _validation(cel: str, message: str, field_path: str, reason: Reason) -> dict[str, str]:
    validation = {"rule": cel, "message": message, "reason": reason}
    if field_path:
        validation["fieldPath"] = field_path
    return validation

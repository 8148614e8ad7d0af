"""What all models share: reading and writing objects, sentences for what is wrong, metadata, conditions."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Self

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

from housekeeper_api.errors import InvalidResource
from housekeeper_api.fields.rules import RULE_ERROR, RULES_ERROR, Rule, TransitionRule
from housekeeper_api.fields.values import ObjectName


class Model(BaseModel):
    """An object of the API: snake_case here, camelCase in YAML; frozen, strict, and refusing what it does not know."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
        strict=True,
        defer_build=True,
    )

    constraints: ClassVar[tuple[Rule, ...]] = ()
    """Rules about several members."""
    transitions: ClassVar[tuple[TransitionRule, ...]] = ()
    """Rules about changes."""

    @model_validator(mode="after")
    def _obey(self) -> Self:
        broken = [rule for rule in self.constraints if not rule.holds(self)]
        if broken:
            problems = [(rule.field_path, rule.message) for rule in broken]
            raise PydanticCustomError(RULES_ERROR, "{problems}", {"problems": problems})
        return self

    def to_object(self) -> dict[str, Any]:
        """Plain JSON values with camelCase keys; members that are None are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusModel(Model):
    """Part of a status. A later release may have written more into it: that is ignored."""

    model_config = ConfigDict(extra="ignore")


class OwnerReference(StatusModel):
    """Who an object belongs to."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


class Metadata(StatusModel):
    """What we read of an object's metadata. Outside a cluster (a policy file) most of it is empty."""

    name: ObjectName
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: dt.datetime | None = None
    deletion_timestamp: dt.datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of `kubectl get`."""

    name: str
    json_path: str
    type: Literal["string", "integer", "date", "boolean"] = "string"
    description: str
    wide: bool = False
    """Only with `-o wide`."""


class Resource(Model):
    """One of the three kinds."""

    short_name: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]] = ()

    metadata: Metadata

    @classmethod
    def from_object(cls, obj: Mapping[str, Any]) -> Self:
        """Read an object as the API server or a file has it; null means absent, as there.

        Raises `InvalidResource`: one sentence for each problem, with the path of the field.
        """
        try:
            return cls.model_validate_json(pydantic_core.to_json(_without_nulls(obj)))
        except ValidationError as error:
            raise InvalidResource(_sentences(error.errors(include_url=False), cls)) from error
        except pydantic_core.PydanticSerializationError as error:
            raise InvalidResource([f"{cls.__name__}: not an object of plain values: {error}"]) from error


_MISTAKES: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this kind; remove it, or correct its spelling",
    "literal_error": "must be one of {expected}",
    "string_type": "must be a text (in quotes where YAML would read a number or a boolean)",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "tuple_type": "must be a list",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "may not be longer than {max_length} characters",
}


def _sentences(errors: Sequence[ErrorDetails], cls: type[Resource]) -> Iterable[str]:
    parents = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    for error in errors:
        path = _path(error["loc"]) or cls.__name__
        context = error.get("ctx", {})
        kind = error["type"]
        if kind == RULES_ERROR:
            yield from (f"{path}{field_path}: {message}" for field_path, message in context["problems"])
        elif kind == RULE_ERROR:
            yield f"{path}{context['field_path']}: {context['message']}"
        elif kind == "too_long":
            yield f"{path}: may not have more than {context['max_length']} items"
        elif kind == "too_short" and error["loc"] in parents:
            continue  # it is only too short because its items were refused, which is told
        elif kind == "too_short":
            yield f"{path}: must have at least {context['min_length']} item"
        else:
            yield f"{path}: {_MISTAKES[kind].format(**context) if kind in _MISTAKES else error['msg']}"


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, (list, tuple)):
        return [_without_nulls(item) for item in value]
    return value

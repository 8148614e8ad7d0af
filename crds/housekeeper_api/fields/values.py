"""Values that fields are made of: annotated types with their bounds, their sentences and their CEL."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from typing import Annotated, Any, Final

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from housekeeper_api import durations, names, quantities, schedules
from housekeeper_api.durations import Duration
from housekeeper_api.fields.rules import RULE_ERROR, Rule, Schema

MAX_INTEGER: Final = 2**53 - 1
"""The largest whole number that every JSON reader keeps."""


def matching(pattern: str, message: str) -> Rule:
    """A rule: the text matches `pattern` (which RE2 and Python must read alike)."""
    compiled = _compiled(pattern)
    return Rule(f"self.matches({cel_text(pattern)})", lambda text: compiled.search(text) is not None, message)


def not_matching(pattern: str, message: str) -> Rule:
    """A rule: nothing in the text matches `pattern`."""
    compiled = _compiled(pattern)
    return Rule(f"!self.matches({cel_text(pattern)})", lambda text: compiled.search(text) is None, message)


def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of RE2 for Python, whose `$` would match before a newline at the end too. None has a literal `$`."""
    return re.compile(pattern.replace("$", r"\Z"))


def cel_text(text: str) -> str:
    """`text` as a CEL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# Durations.


class _DurationSchema:
    """Read a duration from its text, and write it as text."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(strict=True, max_length=durations.MAX_LENGTH)
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(_parse_duration, text),
            python_schema=core_schema.union_schema(
                [
                    core_schema.is_instance_schema(Duration),
                    core_schema.no_info_after_validator_function(_parse_duration, text),
                ]
            ),
            serialization=core_schema.to_string_ser_schema(),
        )

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shape = Rule(f"self.matches({cel_text(durations.PATTERN)})", lambda _: True, durations.SHAPE)
        return {
            "type": "string",
            "maxLength": durations.MAX_LENGTH,
            "x-kubernetes-validations": [shape.as_validation()],
        }


def _parse_duration(text: str) -> Duration:
    try:
        return Duration.parse(text)
    except ValueError as error:
        raise PydanticCustomError(RULE_ERROR, "{message}", {"message": str(error), "field_path": ""}) from error


_CEL_UNITS: Final = "{" + ", ".join(f"'{unit}': {span}" for unit, span in durations.MILLISECONDS.items()) + "}"


def cel_milliseconds(value: str) -> str:
    """CEL: the span in milliseconds of the duration text `value`, which must have the shape of one."""
    return f"int({value}.find('^[0-9]+')) * {_CEL_UNITS}[{value}.find('[a-z]+$')]"


def cel_is_duration(value: str) -> str:
    """CEL: whether `value` has the shape of a duration. Rules about its size let pass what has not: it is told once."""
    return f"{value}.matches({cel_text(durations.PATTERN)})"


def between(at_least: str, at_most: str) -> Rule:
    """A rule: a duration within bounds, both included."""
    low, high = Duration.parse(at_least).milliseconds, Duration.parse(at_most).milliseconds
    span = cel_milliseconds("self")
    return Rule(
        f"!{cel_is_duration('self')} || ({span} >= {low} && {span} <= {high})",
        lambda duration: low <= duration.milliseconds <= high,
        f"must be at least {at_least} and at most {at_most}",
    )


def not_shorter(this: str, that: str, message: str) -> Rule:
    """A rule of a model: its duration `this` is at least as long as its duration `that` (camelCase names)."""
    return Rule(
        f"!{cel_is_duration(f'self.{this}')} || !{cel_is_duration(f'self.{that}')} || "
        f"{cel_milliseconds(f'self.{this}')} >= {cel_milliseconds(f'self.{that}')}",
        lambda model: _member(model, this).milliseconds >= _member(model, that).milliseconds,
        message,
        field_path=f".{this}",
    )


def _member(model: Any, alias: str) -> Any:
    return getattr(model, re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), alias))


AnyDuration = Annotated[Duration, _DurationSchema()]


# Names.

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"

LabelName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matching(f"^{_LABEL}$", "must be lower case letters, digits and '-', and begin and end with a letter or digit"),
]
"""A DNS label: the name of a rule, a volume, a check."""
VolumeName = Annotated[
    str,
    Field(min_length=1, max_length=40),
    matching(f"^{_LABEL}$", "must be lower case letters, digits and '-', and begin and end with a letter or digit"),
]
"""A DNS label that leaves room for what we put before it."""
_OBJECT_NAME: Final = matching(
    rf"^{_LABEL}([.]{_LABEL})*$",
    "must be the name of an object: lower case letters, digits, '-' and '.', such as backups",
)
ObjectName = Annotated[str, Field(min_length=1, max_length=253), _OBJECT_NAME]
"""The name of an object of Kubernetes."""
PolicyName = Annotated[str, Field(min_length=1, max_length=names.MAX_POLICY_NAME), _OBJECT_NAME]
"""The name of a policy or check."""


# Paths and globs. Both are relative to the volume's root.

_BAD_COMPONENTS: Final = r"(^|/)[.]{0,2}(/|$)"
"""An empty component (also a slash at either end), `.` or `..`."""
_OWN_DIRECTORY: Final = r"(^|/)[.]housekeeper(/|$)"

_NO_NUL = Rule(r"!self.contains('\u0000')", lambda text: "\0" not in text, "must not contain a NUL character")

RelativePath = Annotated[
    str,
    Field(min_length=1, max_length=512),
    _NO_NUL,
    not_matching(
        _BAD_COMPONENTS,
        "must be relative to the root of the volume, such as backups/daily: no '/' at either end, no empty, '.' or "
        "'..' component",
    ),
    not_matching(_OWN_DIRECTORY, "must not name .housekeeper, because that is Housekeeper's own directory"),
]
"""A directory below the root of a volume."""

_GLOB_MISTAKE: Final = (
    "must be relative to the root of the volume, such as **/*.dump: no '/' at either end, no empty, '.' or '..' "
    "component, because such a pattern can match nothing"
)
Glob = Annotated[
    str,
    Field(min_length=1, max_length=512),
    _NO_NUL,
    not_matching(_BAD_COMPONENTS, _GLOB_MISTAKE),
]
"""A pattern over the whole path below the root."""
IncludeGlob = Annotated[
    Glob,
    not_matching(
        _OWN_DIRECTORY,
        "must not name .housekeeper, because that is Housekeeper's own directory, which no pattern can match",
    ),
]


# Schedules.


def _schedule_item(number: str, names: str = "") -> str:
    value = f"({number}|(?i:{names}))" if names else f"({number})"
    return rf"^([*]|H([(]{value}-{value}[)])?|{value}(-{value})?)(/[1-9][0-9]?)?$"


_SCHEDULE_FIELDS: Final = (
    ("minute", "0 to 59", _schedule_item("[0-5]?[0-9]")),
    ("hour", "0 to 23", _schedule_item("[01]?[0-9]|2[0-3]")),
    ("day of month", "1 to 31", _schedule_item("0?[1-9]|[12][0-9]|3[01]")),
    (
        "month",
        "1 to 12 or JAN to DEC",
        _schedule_item("0?[1-9]|1[0-2]", "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"),
    ),
    ("day of week", "0 to 6 or SUN to SAT (Sunday is 0)", _schedule_item("0?[0-6]", "SUN|MON|TUE|WED|THU|FRI|SAT")),
)
_FIVE_FIELDS: Final = "^[^ @]+( +[^ ]+){4}$"


def _schedule_rule(index: int) -> Rule:
    title, values, pattern = _SCHEDULE_FIELDS[index]
    item, five_fields = _compiled(pattern), _compiled(_FIVE_FIELDS)

    def holds(text: str) -> bool:
        # What has not five fields is told by another rule.
        if five_fields.search(text) is None:
            return True
        field = [part for part in text.split(" ") if part][index]
        return all(item.search(member) for member in field.split(","))

    return Rule(
        f"!self.matches({cel_text(_FIVE_FIELDS)}) || "
        f"self.split(' ').filter(field, field != '')[{index}].split(',').all(item, item.matches({cel_text(pattern)}))",
        holds,
        f"{title}: write {values}, a range a-b, *, H or H(a-b), each with /step if wished, several joined by commas; "
        "L, W, # and ? are not supported",
    )


ScheduleText = Annotated[
    str,
    Field(min_length=1, max_length=schedules.MAX_LENGTH),
    matching(_FIVE_FIELDS, schedules.FIELDS_NEEDED + "; @daily and its like are not supported"),
    _schedule_rule(0),
    _schedule_rule(1),
    _schedule_rule(2),
    _schedule_rule(3),
    _schedule_rule(4),
]
"""A schedule as far as its shape goes; `schedules.validate` knows the rest."""

_TIME_ZONE_MISTAKE: Final = "must be a time zone of the IANA database, such as Etc/UTC or Europe/Berlin"
TimeZoneName = Annotated[
    str,
    Field(min_length=1, max_length=64),
    matching(
        "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$",
        _TIME_ZONE_MISTAKE,
    ),
    not_matching("^(?i:local)$", _TIME_ZONE_MISTAKE),
]


# Thresholds and quantities.

Percentage = Annotated[
    str,
    Field(min_length=2, max_length=8),
    matching(
        "^(100([.]0{1,2})?|[1-9]?[0-9]([.][0-9]{1,2})?)%$", 'must be a percentage from "0%" to "100%", such as "85%"'
    ),
]
_SIZE: Final = "^[0-9]{1,12}([.][0-9]{1,3})?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"
Size = Annotated[
    str,
    Field(min_length=1, max_length=quantities.MAX_LENGTH),
    matching(_SIZE, 'must be a size, such as "500Mi" or "2Gi"'),
]
"""A size in bytes, as a quantity."""


def cel_is_size(value: str) -> str:
    """CEL: whether `value` has the shape of a `Size`. Rules that compare sizes let pass what has not."""
    return f"{value}.matches({cel_text(_SIZE)})"


class _ResourceQuantitySchema:
    """A quantity as in a pod: a text, or a whole number (`cpu: 1`)."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(strict=True, max_length=quantities.MAX_LENGTH)
        return core_schema.no_info_plain_validator_function(
            _read_resource_quantity, serialization=core_schema.to_string_ser_schema(), json_schema_input_schema=text
        )

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "x-kubernetes-int-or-string": True,
            "pattern": quantities.PATTERN,
            "minimum": 0,
            "maximum": MAX_INTEGER,
            "maxLength": quantities.MAX_LENGTH,
        }


def _read_resource_quantity(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER:
        return str(value)
    if isinstance(value, str):
        try:
            quantities.parse_quantity(value)
        except ValueError as error:
            context = {"message": f"should match '{quantities.PATTERN}': {error}", "field_path": ""}
            raise PydanticCustomError(RULE_ERROR, "{message}", context) from error
        return value
    raise PydanticCustomError(RULE_ERROR, "{message}", {"message": quantities.SHAPE, "field_path": ""})


ResourceQuantity = Annotated[str, _ResourceQuantitySchema()]


# Status.


def _write_time(value: dt.datetime) -> str:
    return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[
    dt.datetime,
    PlainSerializer(_write_time, return_type=str, when_used="json"),
    Schema((("type", "string"), ("format", "date-time"), ("maxLength", 40))),
]
"""A moment with a time zone; written in UTC, to the second."""


@dataclasses.dataclass(frozen=True, slots=True)
class Clipped:
    """A text of ours for people: cut to `length` rather than refused, because a status that says less beats none."""

    length: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Cut before the length is checked."""
        return core_schema.no_info_before_validator_function(self._clip, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The length is the bound."""
        return {**handler(schema), "maxLength": self.length}

    def _clip(self, value: Any) -> Any:
        return clip(value, self.length) if isinstance(value, str) else value


def clip(text: str, length: int) -> str:
    """`text`, cut to `length` characters; what was cut ends with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


MESSAGE_LENGTH: Final = 1024
Message = Annotated[str, Clipped(MESSAGE_LENGTH)]
ShortMessage = Annotated[str, Clipped(256)]
CamelCase = Annotated[str, Field(max_length=64, pattern="^([A-Za-z][A-Za-z0-9]*)?$")]
"""A word such as `TimedOut`."""
StatusName = Annotated[str, Field(max_length=253)]
"""The name of an object, as it was read."""
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]

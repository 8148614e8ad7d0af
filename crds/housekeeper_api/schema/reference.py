"""The API reference: the same models as a page for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

import yaml

from housekeeper_api import durations, names, quantities
from housekeeper_api.conditions import ConditionType, ReadyReason, RunState
from housekeeper_api.fields.base import Resource
from housekeeper_api.fields.rules import VALIDATIONS
from housekeeper_api.schedules import FIELDS_NEEDED
from housekeeper_api.schema.crd import CATEGORY
from housekeeper_api.schema.descriptions import class_description, field_description
from housekeeper_api.schema.structural import definitions, referred_name

_INTRODUCTION = f"""\
<!-- Generated from the models in crds/housekeeper_api. Do not edit: `make generate` writes it. -->
# API reference

`{names.API_VERSION}`. All kinds are namespaced and of the category `{CATEGORY}`: `kubectl get {CATEGORY}` lists them.
What is said here is what the API server enforces; where a field is refused, its message says what to write.

## Values

**Durations** are one number and one unit: `30d`, `12h`, `500ms`. The units are {{units}}.
In `removeOlderThan` and in the spans of `keep` (`within` and its like), days, weeks, months and years are steps of the
calendar in the policy's time zone; everywhere else a day has 24 hours, a month 30 days and a year 365 days.

**Quantities** are numbers with a suffix, as in a pod: `500Mi`, `2Gi`, `250m`. **Percentages** are texts: `"85%"`.

**Schedules** have five fields: minute, hour, day of month, month, day of week. A field is `*`, a number, a range `a-b`,
or several of them joined by commas, each with `/step` if wished; months and days of the week have names too (`JAN`,
`SUN`). `H` stands for a number that is picked from the object's kind, namespace and name, always the same: `H * * * *`
is once an hour, `H/5 * * * *` every five minutes, `H(0-29) 3 * * *` in the first half of an hour. In the hour field, in
a time zone with daylight saving time, `H` does not pick the hours 0 to 2. `status.schedule` shows what it became.
`@daily` and its like, `L`, `W`, `#`, `?` and seconds are not supported.

**Globs** match the whole path from the root of the volume, also where `path` is set: `*` and `?` stop at `/`,
`**` does not, a leading dot matches; `{{a,b}}` is either, `[a-z]` and `[!a-z]` one character of these or none of these.
In `exclude` a directory stands for everything in it. `.housekeeper`, Housekeeper's own directory, is invisible to all
of them.
"""

_NAMED_TYPES = {durations.SHAPE: "duration", FIELDS_NEEDED: "schedule"}
"""How the first rule of a text begins, and what the text is then called."""


def as_markdown(kinds: Sequence[type[Resource]]) -> str:
    """The page."""
    parts = [_INTRODUCTION.replace("{units}", ", ".join(f"`{unit}`" for unit in durations.MILLISECONDS))]
    described: set[str] = set()
    parts += [_kind(kind, described) for kind in kinds]
    return "\n".join([*parts, _conditions()])


def _kind(kind: type[Resource], described: set[str]) -> str:
    lines = [f"## {kind.__name__}", "", _prose(class_description(kind)), ""]
    lines += [f"`kubectl get {kind.short_name}`. Columns, the last ones with `-o wide`:", ""]
    columns = sorted(kind.columns, key=lambda column: column.wide)
    lines += [f"- {column.name}{' (wide)' if column.wide else ''}: {_prose(column.description)}" for column in columns]
    root, found = definitions(kind)
    rules = [_prose(rule["message"]) for rule in root.get(VALIDATIONS, ())]
    if rules:
        lines += ["", "Rules:", "", *(f"- {rule}" for rule in rules)]
    lines.append("")
    for member in ("spec", "status"):
        name = referred_name(root["properties"][member])
        assert name is not None  # noqa: S101 - both are models
        lines += _object(name, f"{kind.__name__}.{member}", found, described)
    return "\n".join(lines)


def _object(name: str, title: str, found: dict[str, Any], described: set[str]) -> Iterator[str]:
    """An object and, after it, the objects it is made of that were not described yet."""
    described.add(name)
    schema = found[name]
    yield from (f"### {title}", f'<a id="{name.lower()}"></a>', "", _prose(schema["description"]), "")
    yield from ("| Field | Type | Default | Meaning |", "| --- | --- | --- | --- |")
    for field, member in schema["properties"].items():
        default = "required" if field in schema.get("required", ()) else _default(member)
        yield f"| `{field}` | {_type(member)} | {default} | {_meaning(member)} |"
    yield ""
    if rules := schema.get(VALIDATIONS):
        yield "Rules:"
        yield ""
        for message in dict.fromkeys(_rule(rule) for rule in rules):
            yield f"- {message}"
        yield ""
    for inner in dict.fromkeys(_references(schema["properties"])):
        if inner not in described:
            yield from _object(inner, inner, found, described)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if (name := referred_name(schema)) is not None:
            yield name
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)


def _rule(rule: dict[str, str]) -> str:
    field = rule.get("fieldPath", "").removeprefix(".")
    return f"`{field}`: {_prose(rule['message'])}" if field else _prose(rule["message"])


def _type(schema: dict[str, Any]) -> str:
    if (name := referred_name(schema)) is not None:
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if schema["type"] == "array":
        unique = schema.get("x-kubernetes-list-map-keys", ())
        one_per = f", one for each `{unique[0]}`" if unique else ""
        return f"list of {_type(schema['items'])} ({_span(schema, 'minItems', 'maxItems')}{one_per})"
    if schema["type"] == "object":
        return f"map of {_type(schema['additionalProperties'])} ({_span(schema, 'minProperties', 'maxProperties')})"
    if schema["type"] == "integer":
        return f"integer ({_span(schema, 'minimum', 'maximum')})"
    if schema["type"] == "string":
        return _type_of_text(schema) or f"string (≤ {schema['maxLength']})"
    return str(schema["type"])


def _type_of_text(schema: dict[str, Any]) -> str | None:
    """The name that a kind of text has above, under "Values"."""
    if schema.get("format") == "date-time":
        return "time"
    messages = [rule["message"] for rule in schema.get(VALIDATIONS, ())]
    return next((name for start, name in _NAMED_TYPES.items() if any(m.startswith(start) for m in messages)), None)


def _span(schema: dict[str, Any], low: str, high: str) -> str:
    least, most = schema.get(low, 0), schema[high]
    if most >= 2**31 - 1:
        return f"{least} or more" if least >= 0 else "any"
    return f"{least} to {most}" if least else f"at most {most}" if "I" in high or "P" in high else f"0 to {most}"


def _default(schema: dict[str, Any]) -> str:
    if "default" not in schema:
        return ""
    default = schema["default"]
    if isinstance(default, (dict, list)):
        return f"`{yaml.safe_dump(default, default_flow_style=True, width=4096).strip()}`" if default else ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _meaning(schema: dict[str, Any]) -> str:
    sentences = [_prose(schema.get("description", ""))]
    sentences += [f"{message[0].upper()}{message[1:]}." for message in _messages(schema)]
    sentences += [f"Each {message}." for message in _messages(schema.get("items", {}))]
    if schema.get("x-kubernetes-int-or-string"):
        sentences.append(_prose(quantities.SHAPE[0].upper() + quantities.SHAPE[1:] + "."))
    return " ".join(sentences)


def _messages(schema: dict[str, Any]) -> list[str]:
    """What the rules of a value say; of a value whose type says it all, only what it says besides."""
    if _type_of_text(schema) == "schedule":
        return []
    messages = dict.fromkeys(rule["message"] for rule in schema.get(VALIDATIONS, ()))
    return [_prose(message) for message in messages if message not in _NAMED_TYPES]


def _conditions() -> str:
    lines = ["## Conditions", "", "Every condition has `status`, `reason`, `message` and `observedGeneration`.", ""]
    tables: tuple[tuple[str, type[StrEnum]], ...] = (
        ("Type", ConditionType),
        ("Reason of `Ready`", ReadyReason),
        ("Reason of `Succeeded`", RunState),
    )
    for title, values in tables:
        lines += [f"| {title} | Meaning |", "| --- | --- |"]
        lines += [f"| `{value}` | {_prose(field_description(values, value.name))} |" for value in values]
        lines.append("")
    return "\n".join(lines)


def _prose(text: str) -> str:
    """`text` with what Markdown would take for markup escaped, but for what stands in backticks."""
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(part if part.startswith("`") else re.sub(r"([*_<])", r"\\\1", part) for part in parts)

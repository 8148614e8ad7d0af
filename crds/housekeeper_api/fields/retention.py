"""What stays of each group, which items are a group, and where their times come from."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from housekeeper_api import expressions, time_formats
from housekeeper_api.fields.base import Model
from housekeeper_api.fields.rules import ATOMIC_OBJECT, Rule
from housekeeper_api.fields.values import AnyDuration, Size, between, cel_text, matching, not_matching

_MAX_COUNT: Final = 1_000_000

Count = Annotated[
    int,
    Field(ge=-1, le=_MAX_COUNT),
    Rule("self != 0", lambda count: count != 0, "must be at least 1, or -1 for all; leave it out to switch it off"),
]
"""How many are kept."""
Span = Annotated[AnyDuration, between("1s", "100y")]
"""A calendar duration, back from the newest item of the group."""
TotalSize = Annotated[Size, not_matching("^0+([.]0+)?[A-Za-z]*$", "must be more than 0")]

_RULES: Final = (
    "last",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "yearly",
    "within",
    "withinHourly",
    "withinDaily",
    "withinWeekly",
    "withinMonthly",
    "withinYearly",
    "maxTotalSize",
)
"""Members of `keep` that keep something; `atLeast` is a floor below all of them."""


def _attribute(member: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", member)


def _has(keep: Keep, member: str) -> bool:
    return getattr(keep, _attribute(member)) is not None


class Keep(Model):
    """What is kept of each group, whatever its age. An item stays if any member keeps it, but for `maxTotalSize`."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            " || ".join(f"has(self.{member})" for member in _RULES) + " || (has(self.atLeast) && self.atLeast > 0)",
            lambda self: any(_has(self, member) for member in _RULES) or bool(self.at_least),
            "keeps nothing; write what is to stay, such as last: 10",
        ),
        Rule(
            "!has(self.last) || self.last != -1 || !("
            + " || ".join(f"has(self.{member})" for member in _RULES if member != "last")
            + ")",
            lambda self: self.last != -1 or not any(_has(self, member) for member in _RULES if member != "last"),
            "-1 keeps all, so that every other rule beside it means nothing; write one or the other",
            field_path=".last",
        ),
    )

    last: Count | None = None
    """The newest so many; -1 is all, here and below."""
    hourly: Count | None = None
    """The newest of each of the last so many hours (of UTC) that have any. Where hours are left over, the oldest of all
    too; likewise below."""
    daily: Count | None = None
    """The newest of each of the last so many days, in `timeZone`, that have any."""
    weekly: Count | None = None
    """The newest of each of the last so many ISO weeks (Monday to Sunday) that have any."""
    monthly: Count | None = None
    """The newest of each of the last so many months that have any."""
    yearly: Count | None = None
    """The newest of each of the last so many years that have any."""
    within: Span | None = None
    """All that is younger than this, seen from the newest item of the group, not from now."""
    within_hourly: Span | None = None
    """The newest of each hour within this of the newest item."""
    within_daily: Span | None = None
    """The newest of each day within this of the newest item."""
    within_weekly: Span | None = None
    """The newest of each ISO week within this of the newest item."""
    within_monthly: Span | None = None
    """The newest of each month within this of the newest item."""
    within_yearly: Span | None = None
    """The newest of each year within this of the newest item."""
    max_total_size: TotalSize | None = None
    """A cap, applied last: newest first, from the first of the kept items that takes their allocated bytes above this,
    none is kept but the newest `atLeast`. As the only rule, it keeps all that fits."""
    at_least: Annotated[int, Field(ge=0, le=_MAX_COUNT)] | None = None
    """The newest so many stay in any case. Absent: 1."""


_CAPTURE: Final = "^[A-Za-z_][A-Za-z0-9_]*$"
_CAPTURES = Rule(
    f"self.all(key, size(key) <= 64 && key.matches({cel_text(_CAPTURE)}))",
    lambda match: all(len(key) <= 64 and re.match(_CAPTURE.replace("$", r"\Z"), key) for key in match),
    "its keys must be named captures of groupBy, at most 64 letters, digits and _ each",
)


class GroupKeep(Model):
    """Another `keep` for some groups."""

    match: Annotated[
        dict[str, Annotated[str, Field(max_length=255)]], Field(min_length=1, max_length=8), _CAPTURES, ATOMIC_OBJECT
    ]
    """Values of named captures of `groupBy`, all of which a group must have."""
    keep: Keep
    """What is kept of such a group, instead of the rule's `keep`."""


class ItemTime(Model):
    """Where the time of an item comes from."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.source == 'Name') == has(self.format)",
            lambda self: (self.source == "Name") == (self.format is not None),
            "is needed with source: Name, and means nothing without",
            field_path=".format",
        ),
    )

    source: Literal["ModificationTime", "AccessTime", "ChangeTime", "BirthTime", "Name"] = "ModificationTime"
    """ModificationTime: when its content changed. AccessTime: when it was last read, where the mount keeps that.
    ChangeTime: when anything of it changed, also owner, mode or links. BirthTime: when it was made, where the file
    system knows. Name: written in its name, as `format` says. A file whose time is not known stays, and is counted as
    `unparsable`."""
    format: (
        Annotated[
            str,
            Field(min_length=1, max_length=128),
            matching(r"^([^%]|%[YymbdjHMSsz%])+$", time_formats.SHAPE),
            matching("%[Yys]", time_formats.SHAPE),
        ]
        | None
    ) = None
    """How the time is written, such as `%Y%m%d-%H%M%S`; in `timeZone` unless it has `%z`. It may stand anywhere in the
    name, though not within a longer number; with a `/` in it, anywhere in the path."""


def _compiles(text: str) -> bool:
    try:
        expressions.compiled(text)
    except ValueError:
        return False
    return True


GroupExpression = Annotated[
    str,
    Field(min_length=1, max_length=512),
    # An expression that does not compile makes the rule an error, which is a refusal that says why.
    Rule(
        "''.matches(self) in [true, false]",
        _compiles,
        "must be a regular expression (RE2: no look-around, no back-references)",
    ),
    matching("[(][?]P<[A-Za-z_]", "must have a named capture, such as (?P<env>prod|qa), which tells the groups apart"),
]

"""How a time is written in a name: literal text and the directives of strftime. Standard library only."""

from __future__ import annotations

from typing import Final

NUMBERS: Final = {
    "%Y": "[0-9]{4}",
    "%y": "[0-9]{2}",
    "%m": "[0-9]{2}",
    "%b": "[A-Z][a-z]{2}",
    "%d": "[0-9]{2}",
    "%j": "[0-9]{3}",
    "%H": "[0-9]{2}",
    "%M": "[0-9]{2}",
    "%S": "[0-9]{2}",
    "%s": "[0-9]{9,10}",
    "%z": "Z|[+-][0-9]{2}:?[0-9]{2}",
}
"""Directives, and what each of them looks like, as an expression."""

SHAPE: Final = (
    "must be text and the directives %Y %y %m %b %d %j %H %M %S %z, or %s, each at most once, with %% for a percent "
    "sign; and name at least the year"
)
_NEEDS: Final = (("%d", ("%m", "%b")), ("%M", ("%H",)), ("%S", ("%M",)))


def directives(text: str) -> list[str]:
    """The format in parts: directives, and single characters that stand for themselves. Raises `ValueError`."""
    parts: list[str] = []
    position = 0
    while position < len(text):
        width = 2 if text[position] == "%" else 1
        part = text[position : position + width]
        if width == 2 and part != "%%" and (part not in NUMBERS or part in parts):
            raise ValueError(SHAPE)
        parts.append("%" if part == "%%" else part)
        position += width
    if not {"%Y", "%y", "%s"} & set(parts):
        raise ValueError(SHAPE)
    for one, others in (("%Y", ("%y", "%s")), ("%m", ("%b",)), ("%j", ("%m", "%b", "%d"))):
        if one in parts and any(other in parts for other in others):
            raise ValueError(f"says {one} and {' or '.join(others)}, which are the same twice; write one of them")
    if "%s" in parts and any(part in NUMBERS for part in parts if part != "%s"):
        raise ValueError("%s is the whole time, in seconds since 1970, and stands alone")
    for one, others in _NEEDS:
        if one in parts and not any(other in parts for other in others):
            raise ValueError(f"{one} means nothing without {' or '.join(others)}")
    return parts

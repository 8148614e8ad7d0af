"""Regular expressions of users: RE2, in which no expression is slow. The API server compiles the same syntax."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

import re2

_NAMES: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P?<(\w+)>", re.DOTALL)
"""Named captures; what is escaped and what is in brackets is passed over."""


def compiled(text: str) -> tuple[Any, dict[str, int]]:
    """An expression over bytes, in which `.` is any character, and its named captures with their numbers, in order.

    Raises `ValueError` with what is wrong.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        expression = re2.compile(f"(?s:{text})".encode(), options)
    except re2.error as error:
        raise ValueError(f"is no expression of RE2: {_sentence(error)}") from None
    numbers = {_text(name): number for name, number in expression.groupindex.items()}
    return expression, dict(sorted(numbers.items(), key=lambda item: item[1]))


def repeated_names(text: str) -> list[str]:
    """Names that several captures have. RE2 takes that, and what all but one of these capture tells nothing apart."""
    return [name for name, count in Counter(filter(None, _NAMES.findall(text))).items() if count > 1]


def _sentence(error: Exception) -> str:
    return _text(error.args[0]) if error.args else "it cannot be read"


def _text(text: str | bytes) -> str:
    return text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text)

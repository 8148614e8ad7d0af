"""File names as people may see them, and as patterns see them. A name is bytes: anything but `/` and NUL."""

from __future__ import annotations

import codecs
from typing import Final

_SHOWN: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {
    10: "\\n",
    13: "\\r",
    9: "\\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_PRIVATE: Final = 0x10FF00
_MATCHING_ERRORS: Final = "housekeeper-matching"


def shown(path: bytes) -> str:
    """`path` for messages and tables: what is not UTF-8 and what would break a line becomes an escape (`\\xff`)."""
    return path.decode("utf-8", "backslashreplace").translate(_SHOWN)


def _as_private(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(chr(_PRIVATE + (ord(character) & 0xFF)) for character in part).encode(), error.end


codecs.register_error(_MATCHING_ERRORS, _as_private)


def matching_form(text: str) -> bytes:
    """Names, as `os.fsdecode` gives them, as UTF-8 that a pattern can be held against.

    Each byte that is not UTF-8 becomes one private character (U+10FF80 to U+10FFFF), so that `?` and `*` match it.
    """
    return text.encode("utf-8", _MATCHING_ERRORS)

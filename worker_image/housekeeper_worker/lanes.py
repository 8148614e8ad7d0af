"""Columns of 64-bit numbers as one large number, so that arithmetic happens to all of them at once.

An `array` of a thousand times takes a thousand objects to be added to. The same bytes read as one number take one. That
is right as long as no result needs more than the 64 bits of its lane.
"""

from __future__ import annotations

import sys
from array import array
from functools import lru_cache
from typing import Final

_BYTES: Final = 8
_SIGN: Final = 1 << 63
LIMIT: Final = 1 << 62
"""`below` knows numbers from 0 on that are less."""
_LOW_BYTE, _LOW_WORD = (0, 0) if sys.byteorder == "little" else (_BYTES - 1, 1)
"""Where in a lane the least of it is."""


def number(column: array[int]) -> int:
    """A column of type q or Q as one number; what is below 0 is as two's complement has it."""
    return int.from_bytes(column.tobytes(), sys.byteorder)


def everywhere(value: int, count: int) -> int:
    """The number that has `value`, from 0 to 2^64 - 1, in each of `count` lanes."""
    return int.from_bytes(value.to_bytes(_BYTES, sys.byteorder) * count, sys.byteorder)


@lru_cache(maxsize=16)
def _again(value: int, count: int) -> int:
    """`everywhere`, for what is wanted again and again."""
    return everywhere(value, count)


def are_known(lanes: int, count: int) -> bool:
    """Whether `below` may be asked about such numbers."""
    return not lanes & _again(_SIGN | LIMIT, count)


def below(lanes: int, limit: int, count: int) -> int:
    """Lanes of 1 where a number is less than `limit`, and of 0. All of them are known, and so is the limit."""
    if limit <= 0:
        return 0
    return (_again(_SIGN + limit - 1, count) - lanes) >> 63 & _again(1, count)


def marks(lanes: int, count: int) -> bytes:
    """Lanes of 1 and 0 as a byte each."""
    return lanes.to_bytes(_BYTES * count, sys.byteorder)[_LOW_BYTE::_BYTES]


def column(lanes: int, count: int, code: str = "q") -> array[int]:
    """The column that such a number is, of one of the types whose items have 8 bytes."""
    return array(code, lanes.to_bytes(_BYTES * count, sys.byteorder))


def halves(lanes: int, count: int) -> array[int]:
    """The column of type I that a number is in each lane of which there are less than 2^32."""
    words = memoryview(lanes.to_bytes(_BYTES * count, sys.byteorder)).cast("I")
    return array("I", words[_LOW_WORD::2].tobytes())

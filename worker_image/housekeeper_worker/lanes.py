"""Columns of 64-bit numbers as one large number, so that arithmetic happens to all of them at once.

An `array` of a thousand times takes a thousand objects to be added to. The same bytes read as one number take one. That
is right as long as no result needs more than the 64 bits of its lane.
"""

from __future__ import annotations

import sys
from array import array
from typing import Final

_BYTES: Final = 8
_LOW_WORD: Final = 0 if sys.byteorder == "little" else 1


def number(column: array[int]) -> int:
    """A column of type q or Q as one number; what is below 0 is as two's complement has it."""
    return int.from_bytes(column.tobytes(), sys.byteorder)


def everywhere(value: int, count: int) -> int:
    """The number that has `value`, from 0 to 2^64 - 1, in each of `count` lanes."""
    return int.from_bytes(value.to_bytes(_BYTES, sys.byteorder) * count, sys.byteorder)


def column(lanes: int, count: int, code: str = "q") -> array[int]:
    """The column that such a number is, of one of the types whose items have 8 bytes."""
    return array(code, lanes.to_bytes(_BYTES * count, sys.byteorder))


def halves(lanes: int, count: int) -> array[int]:
    """The column of type I that a number is in each lane of which there are less than 2^32."""
    words = memoryview(lanes.to_bytes(_BYTES * count, sys.byteorder)).cast("I")
    return array("I", words[_LOW_WORD::2].tobytes())

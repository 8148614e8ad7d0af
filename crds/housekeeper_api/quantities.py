"""Quantities: Kubernetes' numbers with a suffix, such as `500Mi`, `2Gi` or `250m`. Standard library only."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

PATTERN: Final = r"^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|Ti|Pi|Ei|m|k|M|G|T|P|E)?$"
"""Quantities that are not negative and have no exponent; valid in Python, in RE2 and in JSON Schema."""
MAX_LENGTH: Final = 24

SHAPE: Final = "a quantity is a number with a suffix, such as 500Mi or 2Gi"

_SUFFIXES: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY: Final = re.compile(r"([0-9]+(?:[.][0-9]+)?)(Ki|Mi|Gi|Ti|Pi|Ei|m|k|M|G|T|P|E)?\Z")


def parse_quantity(text: str) -> Decimal:
    """The number that a quantity stands for (bytes, cores). Raises `ValueError` with what to write."""
    match = _QUANTITY.match(text)
    if match is None or len(text) > MAX_LENGTH:
        raise ValueError(SHAPE)
    return Decimal(match[1]) * _SUFFIXES[match[2] or ""]


def format_bytes(count: float) -> str:
    """A number of bytes for a person: `0 B`, `1.5 KiB`, `118 MiB`; three digits at least are kept from 100 on."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        # Rounding must not show 1024 of a unit: 1048575 bytes are 1 MiB to a person.
        if abs(size) < 1023.5 or unit == "PiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 99.95 else f"{size:.1f} {unit}"

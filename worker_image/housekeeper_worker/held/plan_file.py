"""The file of a stored plan: a line of JSON, and a record for each item in order of path bytes.

The digest that a person approves is the SHA-256 of the file, whose name it is: `sha256sum HEX.plan` prints HEX. Nothing
of it is held in memory as a whole, neither in writing nor in reading. docs/held-plans.md describes the format.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from housekeeper_worker.retention.plan import Cause, Plan

FORMAT: Final = "housekeeper-plan/1"
_RECORD: Final = struct.Struct("<IQqqqqI")
"""Number of the cause, inode, mtime in ns, size, allocated bytes, birth time in ns, length of the path; it follows."""
_UNKNOWN: Final = -(2**63)
"""Birth time, where the file system does not tell it."""
_BATCH: Final = 2048
_BLOCK: Final = 1 << 20
_MAX_HEADER: Final = 256 << 20
_MAX_PATH: Final = 1 << 24


class DamagedPlan(ValueError):
    """The file is not what was stored. The message says what is wrong."""


class Record(NamedTuple):
    """One item of a stored plan."""

    path: bytes
    cause: int
    """Number in the header's `causes`."""
    inode: int
    modified: int
    """mtime, ns."""
    size: int
    allocated: int
    born: int | None
    """Birth time, ns; None where the file system does not tell it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """What a stored plan is about."""

    namespace: str
    policy: str
    run: str
    attempt: int
    mode: str
    path: str
    """Where the walk began, relative to the root."""
    time_zone: str
    now_ns: int
    """The run's `now`, by which all ages were taken."""
    hold_seconds: float | None
    """`holdFor` of the policy; None: it does not expire."""
    file_system: str
    """`uuid:HEX`, `fsid:HEX` or `root:HEX-HEX`; never `none:`, for such a plan is not stored."""
    items: int
    bytes: int
    """Allocated bytes that would be freed."""
    held: tuple[str, ...]
    """Why it is held, a clause a brake; empty for the plan of a dry run that no brake stopped."""
    rules: tuple[Mapping[str, Any], ...]
    """The rules, as in the task."""
    causes: tuple[Cause, ...] = ()

    @property
    def expires_ns(self) -> int | None:
        """When it may no longer be approved; None: never."""
        return None if self.hold_seconds is None else self.now_ns + int(self.hold_seconds * 1_000_000_000)


Births = Callable[[bytes], int | None]
"""The birth time of a file by its path, ns; None where it cannot be told. For files whose plan does not say it."""


def write(fd: int, header: Header, plan: Plan, births: Births) -> str:
    """Write `plan` to a descriptor, and return the digest of what was written as 64 hexadecimal digits.

    The causes of `header` are those of `plan`, in an order that does not depend on that of the scan. Raises OSError.
    """
    order = sorted(range(len(plan.causes)), key=lambda number: _sorting(plan.causes[number]))
    numbers = [0] * len(order)
    for place, number in enumerate(order):
        numbers[number] = place
    sha = hashlib.sha256()

    def put(data: bytes) -> None:
        sha.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]

    put(_encode(dataclasses.replace(header, causes=tuple(plan.causes[number] for number in order))))
    parts: list[bytes] = []
    pack = _RECORD.pack
    for path, (records, place) in plan.in_path_order():
        born = records.born[place] or births(path)
        parts.append(
            pack(
                numbers[records.cause[place]],
                records.inode[place],
                records.modified[place],
                records.size[place],
                records.allocated[place],
                _UNKNOWN if born is None else born,
                len(path),
            )
        )
        parts.append(path)
        if len(parts) >= 2 * _BATCH:
            put(b"".join(parts))
            parts.clear()
    put(b"".join(parts))
    return sha.hexdigest()


def _sorting(cause: Cause) -> tuple[Any, ...]:
    return cause.rule, sorted(cause.group.items()), cause.reasons


def _encode(header: Header) -> bytes:
    members = {"format": FORMAT}
    for field in dataclasses.fields(header):
        members[_camel(field.name)] = getattr(header, field.name)
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


class StoredPlan:
    """A stored plan that is read from a descriptor. Raises `DamagedPlan`, and OSError.

    `header` is there at once, and to be believed only when `digest` is: that is known when `records` ran to its end.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._sha = hashlib.sha256()
        self._rest = b""
        self.header = self._read_header()

    def _read_header(self) -> Header:
        parts: list[bytes] = []
        length = 0
        while length < _MAX_HEADER and (block := self._read()):
            line, newline, rest = block.partition(b"\n")
            parts.append(line)
            length += len(line)
            if newline:
                self._rest = rest
                return _decode(b"".join(parts))
        raise DamagedPlan("it has no first line")

    def _read(self) -> bytes:
        block = os.read(self._fd, _BLOCK)
        self._sha.update(block)
        return block

    def records(self) -> Iterator[Record]:
        """The items, by path bytes. Once only."""
        data, begin, count, last = self._rest, 0, 0, b""
        unpack, fixed = _RECORD.unpack_from, _RECORD.size
        while True:
            while len(data) - begin >= fixed:
                cause, inode, modified, size, allocated, born, length = unpack(data, begin)
                end = begin + fixed + length
                if end > len(data):
                    if length > _MAX_PATH:
                        raise DamagedPlan(f"item {count + 1} has a path of {length} bytes")
                    break
                path = data[begin + fixed : end]
                if path <= last:
                    raise DamagedPlan(f"item {count + 1} is not in order")
                last, begin, count = path, end, count + 1
                yield Record(path, cause, inode, modified, size, allocated, None if born == _UNKNOWN else born)
            block = self._read()
            if not block:
                break
            data, begin = data[begin:] + block, 0
        if begin != len(data) or count != self.header.items:
            raise DamagedPlan(f"it ends after {count} of {self.header.items} items")

    def again(self) -> StoredPlan:
        """The same file from its beginning."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        return StoredPlan(self._fd)

    @property
    def digest(self) -> str:
        """Of all that was read, 64 hexadecimal digits."""
        return self._sha.hexdigest()


def _decode(line: bytes) -> Header:
    try:
        members = json.loads(line)
        if members["format"] != FORMAT:
            raise DamagedPlan(f"its format is {members['format']!r}, this release reads {FORMAT}")
        values = {field.name: members[_camel(field.name)] for field in dataclasses.fields(Header)}
        values["held"], values["rules"] = tuple(values["held"]), tuple(values["rules"])
        values["causes"] = tuple(Cause(rule, tuple(reasons), group) for rule, reasons, group in values["causes"])
        header = Header(**values)
        _check(header)
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, DamagedPlan):
            raise
        raise DamagedPlan("its first line is no header of a plan") from error
    return header


def _check(header: Header) -> None:
    """Raises `TypeError` where a number is none, so that nothing later does."""
    for number in (header.now_ns, header.items, header.bytes):
        if not isinstance(number, int):
            raise TypeError
    if not isinstance(header.hold_seconds, (int, float, type(None))):
        raise TypeError

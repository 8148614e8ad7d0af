"""The plan: every file that is to go. Its records lie in a store outside of memory; what stays is a line a directory.

Whoever works with a plan asks for its length, its causes, its parts and the records of a part, or for all of it in
order of path bytes. Narrowing it gives another plan over the same store.
"""

from __future__ import annotations

import hashlib
import heapq
import struct
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple, Protocol

from housekeeper_worker.retention.files import Files
from housekeeper_worker.retention.links import Links
from housekeeper_worker.retention.paths import in_path_order, join, prefix
from housekeeper_worker.retention.records import Records

_HASHED: Final = ("inode", "size", "modified")
"""Columns that the digest covers, besides rules and names."""
_BLOCK: Final = 4096
"""Files that are hashed together."""


STAYS: Final = 0xFFFFFFFF
"""In a column of causes: it has none, for it does not go."""


class Store(Protocol):
    """Where bytes are kept and found again."""

    def append(self, data: bytes) -> int:
        """Keep `data`. Returns where it is."""

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on."""


class Memory:
    """A store in memory, for plans that are small or imagined."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def append(self, data: bytes) -> int:
        """Keep `data`. Returns where it is."""
        self._data += data
        return len(self._data) - len(data)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on."""
        return bytes(self._data[offset : offset + length])


class Cause(NamedTuple):
    """Why files go: many share one."""

    rule: int
    """Number of the rule, from 0."""
    reasons: tuple[str, ...]
    group: Mapping[str, str]
    """What `groupBy` captured; empty without."""


class Part(NamedTuple):
    """Planned files of one directory that were found together; `Plan.records` reads them."""

    directory: bytes
    """Path below the root; empty for the root itself."""
    length: int
    """Planned files."""
    store: int
    offset: int
    size: int
    """Bytes in the store."""
    digest: bytes
    """Of the records in order of name, as `_records_digest` makes it."""
    marks: bytes
    """Which of the records in the store are planned, a byte each; empty: all."""
    allocated: int
    """Allocated bytes of the planned files that have one name."""
    linked: bool
    """Whether some have several."""


class Plan:
    """Files to remove."""

    def __init__(self, store: Store | None = None) -> None:
        self._stores: list[Store] = [Memory() if store is None else store]
        self.parts: list[Part] = []
        """In the order in which they are carried out."""
        self.causes: list[Cause] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add_cause(self, cause: Cause) -> int:
        """The number of a new cause."""
        self.causes.append(cause)
        return len(self.causes) - 1

    def add(self, directory: bytes, records: Records) -> None:
        """Add files of one directory. Each has a cause that is known already."""
        if not len(records):
            return
        self._append(self._stored(directory, records.by_name()))

    def _stored(self, directory: bytes, records: Records) -> Part:
        """A part of records in order of name, which are kept."""
        data = records.to_bytes()
        offset = self._stores[0].append(data)
        return Part(directory, len(records), 0, offset, len(data), self._digest_of([records]), b"", *_weight(records))

    def take(self, files: Files, causes: array[int], times: array[int]) -> None:
        """Add those of `files` that have a cause other than `STAYS`, each with it and its time."""
        for chunk in files.chunks:
            end = chunk.first + chunk.length
            of = causes[chunk.first : end]
            stay = of.count(STAYS)
            if stay < chunk.length:
                records = files.records(chunk)
                records.cause, records.time = of, times[chunk.first : end]
                self.add(chunk.directory, records.compressed(bytes(map(STAYS.__ne__, of))) if stay else records)

    def join(self, parts: Sequence[Part], store: Store) -> None:
        """Add what another plan with the same causes found, and `store`, where its records lie."""
        self._stores.append(store)
        for part in parts:
            self._append(part._replace(store=len(self._stores) - 1))

    def sort(self) -> None:
        """Order the parts by directory, which is the same however they were found."""
        self.parts.sort(key=lambda part: prefix(part.directory))

    def _append(self, part: Part) -> None:
        self.parts.append(part)
        self._length += part.length

    def records(self, part: Part) -> Records:
        """The planned files of a part by name."""
        data = self._stores[part.store].read(part.offset, part.size)
        if not part.marks:
            return Records.from_bytes(data, part.length)
        return Records.from_bytes(data, len(part.marks)).compressed(part.marks)

    def pieces(self, part: Part) -> Iterator[Records]:
        """The same, some at a time."""
        store, first = self._stores[part.store], 0
        pieces = Records.pieces(
            lambda begin, length: store.read(part.offset + begin, length), part.size, len(part.marks) or part.length
        )
        for records in pieces:
            marks = part.marks[first : first + len(records)]
            first += len(records)
            yield records.compressed(marks) if part.marks else records

    def narrowed(self, choose: Callable[[bytes, Records], Sequence[int]]) -> Plan:
        """The plan without some files. `choose` marks those to stay in it, of a directory and records in its order."""
        plan = Plan(self._stores[0])
        plan._stores, plan.causes = self._stores, self.causes
        for part in self.parts:
            records = self.records(part)
            marks = bytes(bool(mark) for mark in choose(part.directory, records))
            if all(marks):
                plan._append(part)
            elif any(marks):
                left = iter(marks)
                whole = bytes(next(left) if mark else 0 for mark in part.marks) if part.marks else marks
                records = records.compressed(marks)
                allocated, linked = _weight(records)
                plan._append(
                    part._replace(
                        length=len(records),
                        digest=self._digest_of([records]),
                        marks=whole,
                        allocated=allocated,
                        linked=linked,
                    )
                )
        return plan

    def staged(self, stages: Callable[[int], Sequence[int]]) -> Plan:
        """The plan in the order of stages, without some files.

        `stages` says of a part, by its number, the stage of each of its files; less than 0: it is not to go. Which of
        the files of a stage comes first is not said.
        """
        plan = Plan(self._stores[0])
        plan._stores, plan.causes = self._stores, self.causes
        found: list[tuple[int, Part]] = []
        for number, part in enumerate(self.parts):
            records = self.records(part)
            places: dict[int, array[int]] = {}
            for place, stage in enumerate(stages(number)):
                if stage >= 0:
                    places.setdefault(stage, array("I")).append(place)
            found += [(stage, plan._stored(part.directory, records.picked(chosen))) for stage, chosen in places.items()]
        found.sort(key=itemgetter(0))
        for _, part in found:
            plan._append(part)
        return plan

    def in_path_order(self) -> Iterator[tuple[bytes, tuple[Records, int]]]:
        """Every file by path bytes: its path, and records with its place in them."""
        yield from in_path_order((directory, self._by_name(parts)) for directory, parts in self._by_directory())

    def _by_directory(self) -> Iterator[tuple[bytes, list[Part]]]:
        order = sorted(self.parts, key=lambda part: prefix(part.directory))
        for directory, parts in groupby(order, key=lambda part: part.directory):
            yield directory, list(parts)

    def _by_name(self, parts: Sequence[Part]) -> Iterator[tuple[bytes, tuple[Records, int]]]:
        """Files of one directory by name."""
        each = [_named(self.pieces(part)) for part in parts]
        return each[0] if len(each) == 1 else heapq.merge(*each, key=itemgetter(0))

    def filtered(self, stays: Callable[[bytes, Records, int], bool]) -> Plan:
        """The plan without what does not stay. Asked in order of path bytes: path, records, and the place in them."""
        marks = [bytearray() for _ in self.parts]
        directories: dict[bytes, list[int]] = {}
        for number, part in enumerate(self.parts):
            directories.setdefault(part.directory, []).append(number)
        order = sorted(directories, key=prefix)
        for path, (number, records, place) in in_path_order(
            (directory, self._numbered(directories[directory])) for directory in order
        ):
            marks[number].append(stays(path, records, place))
        each = iter(marks)
        return self.narrowed(lambda _, __: next(each))

    def _numbered(self, numbers: Sequence[int]) -> Iterator[tuple[bytes, tuple[int, Records, int]]]:
        """Files of parts of one directory by name, with the number of their part."""

        def named(number: int) -> Iterator[tuple[bytes, tuple[int, Records, int]]]:
            for name, (records, place) in _named(self.pieces(self.parts[number])):
                yield name, (number, records, place)

        each = [named(number) for number in numbers]
        return each[0] if len(each) == 1 else heapq.merge(*each, key=itemgetter(0))

    def among(self, paths: Iterable[bytes]) -> set[bytes]:
        """Those of a few paths that are planned. Reads the parts of their directories alone."""
        wanted: dict[bytes, set[bytes]] = {}
        for path in paths:
            directory, _, name = path.rpartition(b"/")
            wanted.setdefault(directory, set()).add(name)
        found: set[bytes] = set()
        for part in self.parts:
            if part.directory in wanted:
                for records in self.pieces(part):
                    names = wanted[part.directory].intersection(records.names)
                    found.update(join(part.directory, name) for name in names)
        return found

    def count_of(self, rules: Collection[int]) -> int:
        """How many go by these rules. Reads the parts only where the answer is neither none nor all."""
        causes = {number for number, cause in enumerate(self.causes) if cause.rule in rules}
        if not causes or len(causes) == len(self.causes):
            return len(self) if causes else 0
        pieces = (records for part in self.parts for records in self.pieces(part))
        return sum(records.cause.count(cause) for records in pieces for cause in causes.intersection(records.cause))

    def bytes_to_free(self) -> int:
        """Allocated bytes that would be free without these: a file with several names counts if all are planned."""
        total = sum(part.allocated for part in self.parts)
        names = self.links()
        for records in self._linked() if names else ():
            for place, links in enumerate(records.links):
                if links > 1 and names.is_last(records.device[place], records.inode[place], links):
                    total += records.allocated[place]
        return total

    def links(self) -> Links:
        """A table of the files of which several names are planned."""
        return Links(self._linked(), sum(part.length for part in self.parts if part.linked))

    def _linked(self) -> Iterator[Records]:
        for part in self.parts:
            if part.linked:
                yield from self.pieces(part)

    def digest(self, rules: bytes, now_ns: int, file_system: int) -> str:
        """`sha256:…` over the records, the rules, `now` and the file system's id.

        Directories come in order of path bytes (with a slash at their ends), and in a directory the files in order of
        name bytes. Equal plans have equal digests, in whatever order, windows and processes they were found.
        """
        sha = hashlib.sha256()
        sha.update(struct.pack("=qQQ", now_ns, file_system & 0xFFFFFFFFFFFFFFFF, len(self)))
        sha.update(struct.pack("=Q", len(rules)) + rules)
        for directory, parts in self._by_directory():
            sha.update(struct.pack("=IQ", len(directory), sum(part.length for part in parts)) + directory)
            sha.update(parts[0].digest if len(parts) == 1 else self._digest_of(_blocks(self._by_name(parts))))
        return f"sha256:{sha.hexdigest()}"

    def _digest_of(self, blocks: Iterable[Records]) -> bytes:
        """SHA-256 of records by name. They are hashed `_BLOCK` at a time: names, rules, and each number's column."""
        sha = hashlib.sha256()
        for records in blocks:
            for begin in range(0, len(records), _BLOCK):
                end = begin + _BLOCK
                names = b"\0".join(records.names[begin:end])
                sha.update(struct.pack("=I", len(names)) + names)
                causes = records.cause[begin:end]
                rules = {cause: self.causes[cause].rule for cause in set(causes)}
                sha.update(
                    bytes(rules.values()) * len(causes) if len(rules) == 1 else bytes(map(rules.__getitem__, causes))
                )
                for name in _HASHED:
                    sha.update(getattr(records, name)[begin:end])
        return sha.digest()


def _weight(records: Records) -> tuple[int, bool]:
    """`allocated` and `linked` of a part."""
    if max(records.links) <= 1:
        return sum(records.allocated), False
    return sum(size for size, links in zip(records.allocated, records.links, strict=True) if links <= 1), True


def _named(pieces: Iterable[Records]) -> Iterator[tuple[bytes, tuple[Records, int]]]:
    for records in pieces:
        for place, name in enumerate(records.names):
            yield name, (records, place)


def _blocks(files: Iterable[tuple[bytes, tuple[Records, int]]]) -> Iterator[Records]:
    """Files that come one by one, as records of `_BLOCK` of them."""
    block = Records()
    for name, (records, place) in files:
        columns: dict[str, Iterable[int]] = {one: (getattr(records, one)[place],) for one in ("cause", *_HASHED)}
        block.extend((name,), **columns)
        if len(block) == _BLOCK:
            yield block
            block = Records()
    if len(block):
        yield block

"""The manifest of one quarantine: NDJSON, which says of each file where it was, what it was and why it went.

    {"schemaVersion": 1, "run": …, "namespace": …, "policy": …, "attempt": …, "keepForSeconds": …}
    {"batch": 0, "time": "…", "timeNs": …}
    {"directory": {"path": "a/b"}, "mode": 493, "uid": 0, "gid": 0}        every directory above the files of the batch
    {"place": "0/17", "path": "a/b/c", "inode": …, "size": …, "bytes": …, "mtimeNs": …, "rule": …, "reason": …}
    {"place": "0/18", "path": "a/b/d", …, "itemType": "Directory"}         a directory that is one item

A batch is written and synced before the first of its files is moved. So a line without its file says that the file was
not moved (or is back), and no file is without a line. A torn last line is of a batch of which nothing was moved.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from housekeeper_worker.audit import path_member
from housekeeper_worker.logs import timestamp

SCHEMA_VERSION: Final = 1
NAME: Final = b"manifest.ndjson"

_BATCH_LINE: Final = b'\n{"batch":'
_PIECE: Final = 64 * 1024


class Damaged(ValueError):
    """The manifest cannot be read. The message says why."""


class Header(NamedTuple):
    """Whose quarantine it is."""

    run: str
    namespace: str
    policy: str
    attempt: int
    keep_seconds: float
    """What was promised when it was made."""


class Parent(NamedTuple):
    """A directory above a file, as it was."""

    mode: int
    uid: int
    gid: int


class Item(NamedTuple):
    """A file, or a directory that is one item, that was to be moved."""

    place: tuple[bytes, bytes]
    """Directory and name in the quarantine."""
    path: bytes
    """Below the root of the volume, where it was."""
    inode: int
    size: int
    allocated: int
    is_directory: bool = False
    """Whether it is a directory that goes as a whole."""


def header_line(header: Header) -> bytes:
    """The first line."""
    members = {
        "schemaVersion": SCHEMA_VERSION,
        "run": header.run,
        "namespace": header.namespace,
        "policy": header.policy,
        "attempt": header.attempt,
        "keepForSeconds": header.keep_seconds,
    }
    return json.dumps(members).encode() + b"\n"


def batch_line(number: int, time_ns: int) -> str:
    """The line before a batch."""
    return f'{{"batch":{number},"time":"{timestamp(time_ns)}","timeNs":{time_ns}}}\n'


def parent_line(path: bytes, stat: os.stat_result) -> str:
    """The line of a directory."""
    mode = stat.st_mode & 0o7777
    return f'{{"directory":{{{path_member(path)}}},"mode":{mode},"uid":{stat.st_uid},"gid":{stat.st_gid}}}\n'


def item_line(batch: int, number: int, path: bytes, members: str) -> str:
    """The line of a file. `members` are further members, already JSON: inode, size, bytes, rule, reason …"""
    return f'{{"place":"{batch}/{number}",{path_member(path)},{members}}}\n'


def read_header(fd: int) -> Header | None:
    """The first line, or None where it was never finished: then nothing was moved. Raises `Damaged` and OSError."""
    line, newline, _ = os.pread(fd, _PIECE, 0).partition(b"\n")
    if not newline:
        return None
    data = _object(line)
    if data.get("schemaVersion") != SCHEMA_VERSION:
        raise Damaged(f"it has schemaVersion {data.get('schemaVersion')!r}, this release reads {SCHEMA_VERSION}")
    try:
        return Header(
            str(data["run"]),
            str(data["namespace"]),
            str(data["policy"]),
            int(data["attempt"]),
            float(data["keepForSeconds"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"its first line lacks a member or has a wrong one: {error!r}") from error


def last_time(fd: int) -> int | None:
    """When its last batch was begun, in ns; None if it has no batch. Raises `Damaged` and OSError.

    Looks from the end, for a manifest may be long.
    """
    end = os.fstat(fd).st_size
    length = _PIECE
    while True:
        start = max(0, end - length)
        text = _pread_all(fd, start, end - start)
        found = text.rfind(_BATCH_LINE)
        while found >= 0:
            line, newline, _ = text[found + 1 :].partition(b"\n")
            if newline:
                return _time_of(_object(line))
            found = text.rfind(_BATCH_LINE, 0, found)  # that one is torn: nothing of it was moved
        if start == 0:
            return None
        length *= 4


def _pread_all(fd: int, start: int, length: int) -> bytes:
    parts = []
    while length > 0 and (part := os.pread(fd, length, start)):
        parts.append(part)
        start += len(part)
        length -= len(part)
    return b"".join(parts)


class Reading:
    """The items of a manifest, one after the other. Iterate once."""

    def __init__(self, fd: int) -> None:
        """`fd` is not closed."""
        self._fd = fd
        self.parents: dict[bytes, Parent] = {}
        """The directories above the files of the batch at hand, by path."""
        self.damaged = 0
        """Lines that could not be read, but for a torn last one."""

    def __iter__(self) -> Iterator[Item]:
        with open(self._fd, "rb", closefd=False) as file:
            file.seek(0)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    item = self._read(_object(line))
                except (Damaged, KeyError, TypeError, ValueError):
                    self.damaged += 1
                    continue
                if item is not None:
                    yield item

    def _read(self, data: dict[str, Any]) -> Item | None:
        if "batch" in data:
            self.parents.clear()
        elif "directory" in data:
            parent = Parent(int(data["mode"]) & 0o7777, int(data["uid"]), int(data["gid"]))
            self.parents[_path(data["directory"])] = parent
        elif "place" in data:
            batch, number = (int(part) for part in data["place"].split("/"))
            path = _path(data)
            if batch < 0 or number < 0 or not _is_below(path):
                raise Damaged("it names a place or a path that it cannot have")
            place = b"%d" % batch, b"%d" % number
            is_directory = data.get("itemType") == "Directory"
            return Item(place, path, int(data["inode"]), int(data["size"]), int(data["bytes"]), is_directory)
        return None


def _is_below(path: bytes) -> bool:
    return not any(component in {b"", b".", b".."} for component in path.split(b"/")) and b"\0" not in path


def _path(data: dict[str, Any]) -> bytes:
    if "path" in data:
        return str(data["path"]).encode()
    return base64.b64decode(data["pathBase64"], validate=True)


def _time_of(data: dict[str, Any]) -> int:
    time_ns = data.get("timeNs")
    if not isinstance(time_ns, int):
        raise Damaged("a batch has no time")
    return time_ns


def _object(line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise Damaged(f"a line is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise Damaged("a line is not a JSON object")
    return data

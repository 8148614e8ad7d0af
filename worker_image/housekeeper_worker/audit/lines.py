"""Lines about files, made a directory at a time. Whoever makes them (another process, say) hands them to the writer."""

from __future__ import annotations

import base64
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Literal

from housekeeper_worker.retention.paths import join, prefix
from housekeeper_worker.retention.records import Records

FileEvent = Literal[
    "removed",
    "skipped",
    "quarantined",
    "restored",
    "wouldRemove",
    "wouldQuarantine",
    "wouldRestore",
    "removedDirectory",
    "finished",
    "broughtBack",
]
"""Events of lines about single files and directories."""


def path_member(path: bytes) -> str:
    """`"path":"…"`, or `"pathBase64":"…"` where the path is not UTF-8."""
    try:
        return f'"path":{encode_basestring_ascii(path.decode())}'
    except UnicodeDecodeError:
        return f'"pathBase64":"{base64.b64encode(path).decode()}"'


def file_lines(
    stamp: str, event: FileEvent, directory: bytes, records: Records, members: Callable[[int], str], more: str = ""
) -> str:
    """A line for each file. `members` gives those of a cause, already JSON.

    `more` are further members of each line, each with a comma before it.
    """
    begin = f'{{"ts":"{stamp}","event":"{event}",'
    joined = b"/".join(records.names)
    try:
        directory.decode()
        # No name has a slash in it, and JSON leaves slashes alone: one call instead of one a file.
        names = encode_basestring_ascii(joined.decode())[1:-1].split("/")
        begin += path_member(prefix(directory))[:-1]
        end = '"'
    except UnicodeDecodeError:
        names = [path_member(join(directory, name)) for name in records.names]
        end = ""
    ends = {cause: f"{end},{members(cause)}" for cause in set(records.cause)}
    columns = (names, records.cause, records.size, records.allocated, records.inode, records.modified)
    return "".join(
        [
            f'{begin}{name}{ends[cause]},"size":{size},"bytes":{allocated},"inode":{inode},"mtimeNs":{modified}{more}}}\n'
            for name, cause, size, allocated, inode, modified in zip(*columns, strict=True)
        ]
    )

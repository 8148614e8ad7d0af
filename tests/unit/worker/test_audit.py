"""Lines that say what was done, to a descriptor that may fail."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_worker.audit import Audit, file_lines, path_member
from housekeeper_worker.errors import AuditLost
from housekeeper_worker.logs import timestamp
from housekeeper_worker.retention.records import Records
from housekeeper_worker.volume.names import shown


def events(target: Path) -> list[str]:
    return [json.loads(line)["event"] for line in target.read_text().splitlines()]


@given(path=st.binary(max_size=40))
def test_any_path_survives_a_line(path: bytes) -> None:
    member = json.loads("{" + path_member(path) + "}")
    back = base64.b64decode(member["pathBase64"]) if "pathBase64" in member else member["path"].encode()
    assert back == path


@given(path=st.binary(max_size=40))
def test_any_path_can_be_shown_on_one_line_of_text(path: bytes) -> None:
    text = shown(path)
    assert text.encode().decode() == text
    assert text.isprintable() or all(ord(character) >= 128 for character in text if not character.isprintable())
    assert len(text.splitlines()) <= 1


@given(
    directory=st.binary(max_size=8).filter(lambda path: b"\0" not in path),
    names=st.lists(st.binary(min_size=1, max_size=8).filter(lambda name: not {0, 47} & set(name)), min_size=1),
)
def test_lines_about_files_say_their_paths_whatever_bytes_they_are(directory: bytes, names: list[bytes]) -> None:
    records = Records()
    records.extend(names, size=range(len(names)))
    lines = file_lines("2025-11-22T12:00:00.123Z", "removed", directory, records, lambda _: '"rule":"r"').splitlines()
    told = [json.loads(line) for line in lines]
    for number, (line, name) in enumerate(zip(told, names, strict=True)):
        member = json.loads("{" + path_member(directory + b"/" + name if directory else name) + "}")
        assert member.items() <= line.items()
        assert (line["event"], line["rule"], line["size"]) == ("removed", "r", number)


def test_outcomes_are_written_with_the_next_intent(tmp_path: Path) -> None:
    target = tmp_path / "audit"
    fd = os.open(target, os.O_WRONLY | os.O_CREAT)
    audit = Audit(fd, "run")
    audit.intent(b"a", b"b", 2)
    records = Records()
    records.extend([b"a"])
    audit.files(file_lines(audit.stamp, "removed", b"", records, lambda _: '"rule":"r"'), {"removed": 1})
    assert events(target) == ["intent", "chain"]
    audit.intent(b"c", b"d", 2)
    assert events(target) == ["intent", "chain", "removed", "intent", "chain"]
    os.close(fd)


def test_an_audit_that_cannot_be_written_is_an_error_once() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    audit = Audit(fd, "run")
    with pytest.raises(AuditLost, match="No space left on device"):
        audit.event("start")
    audit.event("summary")  # there is nothing left to write to, and it was told
    os.close(fd)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_763_812_800_123_456_789, "2025-11-22T12:00:00.123Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854Z"),
    ],
)
def test_timestamps(ns: int, text: str) -> None:
    assert timestamp(ns) == text

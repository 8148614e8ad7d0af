"""An audit that was changed, cut or put together otherwise is told from one that is whole."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housekeeper_worker.audit import Audit
from housekeeper_worker.audit.destination import appended_audit
from housekeeper_worker.audit.tail import read_tail
from housekeeper_worker.audit.verify import Verdict, verify
from housekeeper_worker.errors import CouldNotRun
from tests.unit.worker.test_command_line import housekeeper, one_object


def tell(audit: Audit, path: str) -> None:
    """One line about a removed file."""
    line = {"event": "removed", "path": path, "rule": "r", "reason": "old"}
    audit.files(f'{{"ts":"{audit.stamp}",{json.dumps(line, separators=(",", ":"))[1:]}\n', {"removed": 1})


def write_run(audit: Audit, *, batches: int = 3, files: int = 4) -> None:
    audit.event("start", mode="Enforce")
    for batch in range(batches):
        audit.intent(f"{batch}-0".encode(), f"{batch}-{files - 1}".encode(), files)
        for file in range(files):
            tell(audit, f"{batch}-{file}")
    audit.event("summary", result={})


def a_file(target: Path, runs: int = 1) -> str:
    """An audit of whole runs. Returns its head."""
    for number in range(runs):
        with appended_audit(str(target), f"run-{number}") as audit:
            write_run(audit)
    report = audit.report()
    assert report is not None
    return report.head


def judged(target: Path, head: str | None = None) -> Verdict:
    with open(target, "rb") as file:
        return verify(file, head)


def test_what_was_written_is_whole_and_has_the_head_of_the_result(tmp_path: Path) -> None:
    target = tmp_path / "audit"
    with appended_audit(str(target), "run") as audit:
        write_run(audit)
    report = audit.report()
    assert report is not None
    assert (report.to, report.path, report.complete, report.unrecorded) == ("File", str(target), True, 0)
    assert report.lines == target.read_bytes().count(b"\n")
    verdict = judged(target, report.head)
    assert (verdict.state, verdict.head, verdict.lines) == ("Whole", report.head, report.lines)
    assert (verdict.runs, verdict.concluded, verdict.after_head) == (1, 1, 0)


def test_the_runs_of_one_file_are_one_chain(tmp_path: Path) -> None:
    target = tmp_path / "audit"
    first = a_file(target)
    a_file(target, runs=2)
    verdict = judged(target, first)
    assert (verdict.state, verdict.runs, verdict.concluded, verdict.torn) == ("Whole", 3, 3, 0)
    assert verdict.after_head == verdict.lines * 2 // 3


def changed(lines: list[bytes]) -> None:
    lines[4] = lines[4].replace(b"0-0", b"0-9")


def a_letter_of_a_chain_line(lines: list[bytes]) -> None:
    lines[1] = lines[1].replace(b'"lines":2', b'"lines":3')


def spelled_otherwise(lines: list[bytes]) -> None:
    lines[1] = lines[1].replace(b'"block":1', b'"block": 1')


def removed(lines: list[bytes]) -> None:
    del lines[6]


def put_in(lines: list[bytes]) -> None:
    lines.insert(5, lines[5].replace(b"0-", b"7-"))


def swapped(lines: list[bytes]) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def a_block_taken_out(lines: list[bytes]) -> None:
    ends = [number for number, line in enumerate(lines) if b'"chain"' in line]
    del lines[ends[1] + 1 : ends[2] + 1]


def blocks_swapped(lines: list[bytes]) -> None:
    ends = [number + 1 for number, line in enumerate(lines) if b'"chain"' in line]
    a, b, c = ends[0], ends[1], ends[2]
    lines[a:c] = lines[b:c] + lines[a:b]


def the_beginning_cut_off(lines: list[bytes]) -> None:
    ends = [number + 1 for number, line in enumerate(lines) if b'"chain"' in line]
    del lines[: ends[1]]


def something_else(lines: list[bytes]) -> None:
    lines.insert(5, b"hello\n")


def half_a_line_in_the_midst(lines: list[bytes]) -> None:
    lines[5] = lines[5][:20] + b" #torn\n"


@pytest.mark.parametrize(
    "tamper",
    [
        changed,
        a_letter_of_a_chain_line,
        spelled_otherwise,
        removed,
        put_in,
        swapped,
        a_block_taken_out,
        blocks_swapped,
        the_beginning_cut_off,
        something_else,
        half_a_line_in_the_midst,
    ],
)
def test_tampering_is_found_without_knowing_the_head(tmp_path: Path, tamper: Callable[[list[bytes]], None]) -> None:
    target = tmp_path / "audit"
    a_file(target)
    lines = target.read_bytes().splitlines(keepends=True)
    tamper(lines)
    target.write_bytes(b"".join(lines))
    verdict = judged(target)
    assert verdict.state == "Broken"
    assert verdict.message.startswith("line")


def test_a_missing_end_is_found_by_the_head_alone(tmp_path: Path) -> None:
    target = tmp_path / "audit"
    head = a_file(target)
    lines = target.read_bytes().splitlines(keepends=True)
    last_but_one = [number for number, line in enumerate(lines) if b'"chain"' in line][-2]
    target.write_bytes(b"".join(lines[: last_but_one + 1]))
    assert judged(target).state == "Whole"
    assert judged(target, head).state == "Broken"


def test_another_chain_over_the_same_lines_is_found_by_the_head_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    head = a_file(first)
    with appended_audit(str(second), "run-0") as audit:
        write_run(audit, files=3)
    assert judged(second).state == "Whole"
    assert judged(second, head).state == "Broken"


@given(data=st.data())
@settings(max_examples=150)
def test_no_single_byte_can_be_changed(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("chain") / "audit"
    head = a_file(target)
    whole = bytearray(target.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    assert verify(io.BytesIO(bytes(whole)), head).state != "Whole"


@given(cut=st.integers(0, 4000))
@settings(max_examples=150)
def test_a_file_cut_anywhere_goes_on_as_one_chain(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As a killed writer leaves it: nothing that is there changes, and the next run says what was no line."""
    target = tmp_path_factory.mktemp("torn") / "audit"
    a_file(target)
    whole = target.read_bytes()
    left = whole[: cut % (len(whole) + 1)]
    target.write_bytes(left)
    assert judged(target).state == (
        "Whole" if left.endswith(b'"}\n') and b'"chain"' in left.splitlines()[-1] else "Unfinished"
    )
    head = a_file(target)
    now = target.read_bytes()
    assert now.startswith(left)
    verdict = judged(target, head)
    assert verdict.state == "Whole"
    half = len(left) - left.rfind(b"\n") - 1
    told = [json.loads(line) for line in now[len(left) :].splitlines() if b'"event":"torn"' in line]
    assert [one["bytes"] for one in told] == ([half] if verdict.torn else [])
    assert half == 0 or verdict.torn == 1


def test_the_tail_of_a_large_file_is_found_across_the_pieces_it_is_read_in(tmp_path: Path) -> None:
    target = tmp_path / "audit"
    a_file(target)
    with appended_audit(str(target), "big") as audit:
        for number in range(30_000):
            tell(audit, "x" * 100 + str(number))
    report = audit.report()
    assert report is not None
    with open(target, "rb") as file:
        tail = read_tail(file.fileno())
    verdict = judged(target)
    assert (tail.link.lines, tail.link.head) == (verdict.lines, verdict.head)
    assert verdict.state == "Unfinished" or tail.lines == 0


def test_lines_of_an_older_kind_are_taken_into_the_chain(tmp_path: Path) -> None:
    target = tmp_path / "audit"
    old = b'{"ts":"2026-01-01T00:00:00.000Z","event":"start","run":"old"}\n'
    target.write_bytes(old)
    head = a_file(target)
    verdict = judged(target, head)
    assert (verdict.state, verdict.torn, verdict.runs) == ("Whole", 1, 2)
    target.write_bytes(target.read_bytes().replace(b'"old"', b'"new"'))
    assert judged(target).state == "Broken"


def test_a_file_that_another_run_writes_is_not_written_besides(tmp_path: Path) -> None:
    target = str(tmp_path / "audit")
    with appended_audit(target, "one"), pytest.raises(CouldNotRun, match="another run"), appended_audit(target, "two"):
        pass


def test_the_log_of_a_pod_is_verified_with_the_log_lines_in_it() -> None:
    reader, writer = os.pipe()
    write_run(Audit(writer, "run"))
    os.close(writer)
    with open(reader, "rb") as pipe:
        lines = pipe.read().splitlines(keepends=True)
    for place in (9, 4, 0):
        lines.insert(place, b'{"ts": "2026-01-01T00:00:00.000Z", "level": "info", "msg": "scanning"}\n')
    assert verify(io.BytesIO(b"".join(lines))).state == "Whole"


def test_a_log_tells_of_single_files_up_to_its_limit_and_counts_the_rest() -> None:
    reader, writer = os.pipe()
    audit = Audit(writer, "run", limit=600)
    write_run(audit)
    os.close(writer)
    with open(reader, "rb") as pipe:
        lines = [json.loads(line) for line in pipe]
    told = [line["event"] for line in lines if line["event"] != "chain"]
    shown = told.count("removed")
    assert 0 < shown < 12
    assert told.count("limited") == 1
    counted = [line for line in lines if line["event"] == "outcomes"]
    assert shown + sum(line["removed"] for line in counted) == 12
    assert told.count("intent") == 3
    report = audit.report()
    assert report is not None
    assert (report.to, report.complete) == ("Log", False)
    assert "spec.report" in audit.notes[0]


@pytest.mark.parametrize(
    ("tampered", "head", "code", "state"),
    [
        (False, None, 0, "Whole"),
        (False, "right", 0, "Whole"),
        (False, "0" * 64, 1, "Broken"),
        (False, "abc", 64, None),
        (True, None, 1, "Broken"),
    ],
)
def test_the_command_says_what_it_found(
    tmp_path: Path, tampered: bool, head: str | None, code: int, state: str | None
) -> None:
    target = tmp_path / "audit"
    right = a_file(target)
    if tampered:
        target.write_bytes(target.read_bytes().replace(b"1-2", b"1-7"))
    asked = [] if head is None else ["--head", right if head == "right" else head]
    done = housekeeper("verify-audit", target, *asked, "-o", "json")
    assert done.returncode == code, done.stderr
    if state is not None:
        assert one_object(done)["state"] == state
        assert state in housekeeper("verify-audit", target, *asked).stdout


def test_the_command_tells_an_unfinished_audit_and_none_apart(tmp_path: Path) -> None:
    target = tmp_path / "audit"
    a_file(target)
    with open(target, "ab") as file:
        file.write(b'{"ts":"')
    assert housekeeper("verify-audit", target).returncode == 3
    missing = housekeeper("verify-audit", tmp_path / "none")
    assert missing.returncode == 2
    assert "No such file" in missing.stderr

"""What is selected by its size, and times that are not modification times."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.task import ItemTime, Keep, Rule, TimeSource
from housekeeper_worker.retention.sizes import size_bounds, within
from tests.unit.worker.builders import DAY, carry_out, cleanup_task, counters, files_below, rule, write
from tests.unit.worker.scenarios import scene


def changed(**members: object) -> Rule:
    """The rule of these tests, older than 30 days, but for some members."""
    return dataclasses.replace(rule(), **members)


def sized(volume: Path, sizes: dict[str, int], *, days: float = 40) -> None:
    for name, size in sizes.items():
        write(volume / name, days=days, content=b"x" * size)


@pytest.mark.parametrize(
    ("least", "most", "gone"),
    [
        (None, None, {"0", "1", "10", "11"}),
        (1, None, {"1", "10", "11"}),
        (10, None, {"10", "11"}),
        (None, 10, {"0", "1", "10"}),
        (None, 0, {"0"}),
        (1, 10, {"1", "10"}),
        (12, None, set()),
    ],
)
def test_bounds_are_within(volume: Path, least: int | None, most: int | None, gone: set[str]) -> None:
    names = {"0", "1", "10", "11"}
    sized(volume, {name: int(name) for name in names})
    done = counters(carry_out(cleanup_task(volume, changed(min_size=least, max_size=most))))
    assert set(map(os.fsdecode, files_below(volume))) == names - gone
    assert (done.scanned, done.matched, done.removed) == (4, len(gone), len(gone))


def test_what_is_outside_belongs_to_the_next_rule(volume: Path) -> None:
    sized(volume, {"small": 1, "large": 1000}, days=5)
    first, second = changed(name="large", min_size=500, remove_older_than="1d"), changed(name="rest")
    done = counters(carry_out(cleanup_task(volume, first, second)))
    assert files_below(volume) == {b"small"}
    assert {one["path"]: one["reason"] for one in done.sample} == {
        "small": "not older than 30d",
        "large": "older than 1d",
    }


def test_what_is_outside_is_not_kept_is_no_group_and_does_not_count_for_a_brake(volume: Path) -> None:
    """An interrupted dump must not be the one that `last` keeps."""
    for number in range(6):
        write(volume / f"prod-{number}", days=number, content=b"x" * (0 if number < 2 else 100))
    write(volume / "qa-0", days=9, content=b"")
    one = changed(remove_older_than=None, keep=Keep(last=2), group_by="(?P<env>prod|qa)-.*", min_size=1)
    assert carry_out(cleanup_task(volume, one, mode="DryRun", max_percent=49)).outcome == "Held"  # two of four
    result = carry_out(cleanup_task(volume, one, max_percent=50))
    assert files_below(volume) == {b"prod-0", b"prod-1", b"prod-2", b"prod-3", b"qa-0"}
    assert (counters(result).scanned, counters(result).matched) == (7, 4)


@given(
    sizes=st.lists(st.none() | st.integers(0, 20), max_size=20),
    least=st.none() | st.integers(0, 20),
    most=st.none() | st.integers(0, 20),
)
def test_narrowing_takes_back_what_is_outside_and_nothing_else(
    sizes: list[int | None], least: int | None, most: int | None
) -> None:
    bounds = size_bounds([changed(), changed(min_size=least, max_size=most)])
    narrow = within(bounds, sizes.__getitem__, None)
    all_marked = bytearray(b"\1" * len(sizes))
    assert narrow(0, bytearray(all_marked)) == all_marked
    marks = narrow(1, bytearray(all_marked))
    for size, mark in zip(sizes, marks, strict=True):
        assert mark == (size is None or (least or 0) <= size <= (20 if most is None else most))


def timed(source: TimeSource, **members: object) -> Rule:
    return changed(time=ItemTime(source), **members)


def touch(path: Path, *, accessed: float, modified: float) -> None:
    """A file that was read and written so many days ago."""
    write(path)
    now = time.time_ns()
    os.utime(path, ns=(now - int(accessed * DAY), now - int(modified * DAY)))


def test_access_times_decide(volume: Path) -> None:
    touch(volume / "read", accessed=1, modified=100)
    touch(volume / "unread", accessed=100, modified=99)
    result = carry_out(cleanup_task(volume, timed("AccessTime")))
    assert result.outcome == "Succeeded", result.message
    assert files_below(volume) == {b"read"}


def test_access_times_order_what_is_kept(volume: Path) -> None:
    for number, accessed in enumerate((3, 1, 2)):
        touch(volume / str(number), accessed=accessed, modified=number + 10)
    carry_out(cleanup_task(volume, timed("AccessTime", remove_older_than=None, keep=Keep(last=2))))
    assert files_below(volume) == {b"1", b"2"}


@pytest.mark.parametrize("members", [{}, {"remove_older_than": None, "keep": Keep(last=1)}], ids=["age", "keep"])
def test_what_is_read_after_the_plan_stays(volume: Path, members: dict[str, Any]) -> None:
    touch(volume / "a", accessed=100, modified=100)
    touch(volume / "b", accessed=100, modified=100)
    if members:
        touch(volume / "c", accessed=99, modified=100)  # which is what is kept

    def read(decided: object) -> None:
        (volume / "b").read_bytes()  # which changes nothing but the access time

    before = os.stat(volume / "b").st_ctime_ns
    result = carry_out(cleanup_task(volume, timed("AccessTime", **members)), on_decision=read)
    assert files_below(volume) == ({b"b", b"c"} if members else {b"b"})
    assert counters(result).skipped == {"changed": 1}
    assert os.stat(volume / "b").st_ctime_ns == before


def test_change_times_decide_whatever_the_content_says(volume: Path) -> None:
    """utime sets the modification time and moves the change time to now."""
    touch(volume / "moved here", accessed=100, modified=100)
    assert counters(carry_out(cleanup_task(volume, timed("ChangeTime")))).removed == 0
    assert counters(carry_out(cleanup_task(volume, timed("ChangeTime")), later=31)).removed == 1


def test_birth_times_decide(volume: Path) -> None:
    touch(volume / "copied", accessed=100, modified=100)
    assert counters(carry_out(cleanup_task(volume, timed("BirthTime")))).removed == 0
    assert counters(carry_out(cleanup_task(volume, timed("BirthTime")), later=31)).removed == 1


def test_the_settle_time_is_by_modification_and_change_whatever_decides(volume: Path) -> None:
    touch(volume / "written now", accessed=100, modified=0)
    result = carry_out(cleanup_task(volume, timed("AccessTime"), settle=600), later=0.001)
    assert counters(result).skipped == {"settling": 1}


def test_a_birth_that_is_not_known_is_never_replaced_by_another_time(tmp_path: Path) -> None:
    """ext4 with inodes of 128 bytes has no room for it."""
    told = scene("no_birth_times", tmp_path)
    assert told["left"] == ["a", "b"]
    assert told["result"]["outcome"] == "Succeeded"
    cleanup = told["result"]["cleanup"]
    assert (cleanup["matched"], cleanup["removed"], cleanup["skipped"]) == (2, 0, {"unparsable": 2})
    (note,) = [note for note in cleanup["notes"] if note.startswith("2 files stay and do not count, such as ")]
    assert note.endswith(": the time when it was made is not known")


@pytest.mark.parametrize(
    ("options", "older", "refusal"),
    [
        ("noatime", "30d", "the volume is mounted noatime"),
        ("noatime", None, "the volume is mounted noatime"),
        ("relatime", "47h", "removeOlderThan 47h, and the volume is mounted relatime"),
        ("relatime", "1d", "write at least 2d"),
        ("relatime", "2d", ""),
        ("relatime", None, ""),
        ("strictatime", "1h", ""),
        ("noatime,ro", "30d", "the volume is mounted noatime"),
    ],
)
def test_access_times_that_nobody_keeps_are_refused(
    tmp_path: Path, options: str, older: str | None, refusal: str
) -> None:
    told = scene("access_times", tmp_path, options, older or "")
    assert refusal in told["error"]
    assert bool(refusal) == bool(told["error"])
    assert told["modification"] == "Succeeded"


def test_odd_times_are_noted_with_how_many_and_the_first(volume: Path) -> None:
    for number in range(30):
        write(volume / f"kept-{number}", days=1)
    write(volume / "tomorrow", days=-1)
    write(volume / "next week", days=-7)
    named = timed("Name", name="named", include=("kept-*",), keep=Keep(last=1), remove_older_than=None)
    named = dataclasses.replace(named, time=ItemTime("Name", "%Y%m%d"))
    done = counters(carry_out(cleanup_task(volume, named, rule())))
    assert done.skipped == {"future": 2, "unparsable": 30}
    notes = {note.partition(" ")[0]: note for note in done.notes if "do not count" in note}
    assert notes["2"].endswith(": its time lies in the future")
    assert {note.split("such as ")[1].split(":")[0] for note in notes.values()} <= {
        *(f"kept-{number}" for number in range(30)),
        "tomorrow",
        "next week",
    }
    assert notes["30"].endswith(": no time can be read in its name, or more than one")
    assert json.loads(carry_out(cleanup_task(volume, mode="DryRun")).to_json())["cleanup"]["notes"]
    os.unlink(volume / "tomorrow")
    one = counters(carry_out(cleanup_task(volume, mode="DryRun")))
    assert "one file stays and does not count: next week: its time lies in the future" in one.notes

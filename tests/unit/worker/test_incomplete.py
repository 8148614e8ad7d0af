"""`ignoreIncomplete`: what is still being written does not count and does not go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.task import Keep
from housekeeper_worker.retention.incomplete import SUFFIXES, has_mark, is_incomplete, marked
from housekeeper_worker.volume import scan
from tests.unit.worker.builders import (
    OLD,
    carry_out,
    cleanup_task,
    counters,
    directories,
    files_below,
    item,
    rule,
    write,
)
from tests.unit.worker.test_directories import left

NAMES = st.text(alphabet="ab.", min_size=1, max_size=4)


@given(st.sets(NAMES | st.tuples(NAMES, st.sampled_from(SUFFIXES)).map("".join)))
def test_a_name_is_incomplete_by_itself_or_by_a_sibling(names: set[str]) -> None:
    marks = marked(names)
    for name in names:
        by_itself = any(name.endswith(suffix) for suffix in (".part", ".tmp", ".partial", ".lock"))
        by_sibling = bool({name + suffix for suffix in (".part", ".tmp", ".partial", ".lock")} & names)
        assert is_incomplete(name, marks) is (by_itself or by_sibling)
        assert has_mark(name) is by_itself


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("together", [False, True])
def test_neither_it_nor_its_whole_sibling_goes(volume: Path, suffix: str, together: bool) -> None:
    for name in ("a", "b", f"b{suffix}", f"c{suffix}", f"d{suffix}x"):
        write(volume / "d" / name, days=OLD)
    one = rule(ignore_incomplete=True, group_by="(?P<all>.*/).*" if together else None)
    done = counters(carry_out(cleanup_task(volume, one)))
    assert (done.matched, done.removed, done.skipped) == (5, 2, {"incomplete": 3})
    assert files_below(volume) == {b"d/b", b"d/b" + suffix.encode(), b"d/c" + suffix.encode()}
    assert counters(carry_out(cleanup_task(volume, rule()))).removed == 3


def test_a_sibling_may_be_anything_and_anywhere_in_a_long_listing(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "WINDOW", 4)
    for number in range(30):
        write(volume / f"f{number}", days=OLD)
    os.symlink("nowhere", volume / "f7.lock")
    (volume / "f9.part").mkdir()
    write(volume / "f11.tmp")
    done = counters(carry_out(cleanup_task(volume, rule(include=["f*"], ignore_incomplete=True))))
    assert files_below(volume) == {b"f7", b"f7.lock", b"f9", b"f11", b"f11.tmp"}
    assert done.skipped == {"incomplete": 4}


def test_what_is_incomplete_does_not_count_for_keep(volume: Path) -> None:
    for number in range(4):
        write(volume / f"{number}.dump", days=number + 1)
    write(volume / "new.dump.part")
    one = rule(older=None, keep=Keep(last=2), ignore_incomplete=True)
    assert counters(carry_out(cleanup_task(volume, one))).removed == 2
    assert files_below(volume) == {b"0.dump", b"1.dump", b"new.dump.part"}


@pytest.mark.parametrize(
    ("name", "stays"), [("run-1", False), ("run-2", True), ("run-3.part", True), ("run-4", True), ("run-5", False)]
)
def test_directories_are_incomplete_by_name_by_sibling_and_by_what_is_inside(
    volume: Path, name: str, stays: bool
) -> None:
    for number in (1, 2, 4, 5):
        item(volume / f"run-{number}", "a")
    item(volume / "run-3.part", "a")
    write(volume / "run-2.lock", days=OLD)
    item(volume / "run-4", "deep/x.tmp")
    item(volume / "run-5", "deep/x.tmpl")
    one = directories(["run-*"], ignore_incomplete=True)
    done = counters(carry_out(cleanup_task(volume, one)))
    assert (name in left(volume)) is stays
    assert (done.removed, done.skipped) == (2, {"incomplete": 3})
    assert counters(carry_out(cleanup_task(volume, directories(["run-*"])))).removed == 3

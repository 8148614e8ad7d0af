"""The journal of the trash: whoever has no lock leaves it alone, and nothing that it tells is ever cut off."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from housekeeper_worker.stop import Reason, Stop
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
from tests.unit.worker.openers import holding
from tests.unit.worker.test_directories import left, trashed
from tests.unit.worker.test_trash_left import leave

JOURNAL = ".housekeeper/trash/journal"


@pytest.mark.parametrize("reason", ["TimedOut", "Cancelled"])
def test_who_was_stopped_while_waiting_for_another_worker_touches_nothing(volume: Path, reason: Reason) -> None:
    item(volume / "d", "a")
    leave(volume, committed=True)
    write(volume / "old", days=OLD)
    with open(volume / JOURNAL, "ab") as file:
        file.write(b'{"entry":"half of what the other one is wri')
    before, written = files_below(volume), (volume / JOURNAL).read_bytes()
    lock = os.open(volume, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    stop = Stop()
    stop.now(reason)
    result = carry_out(cleanup_task(volume, rule(include=["old"])), stop=stop)
    os.close(lock)
    assert (result.outcome, counters(result).removed) == (reason, 0)
    assert (files_below(volume), (volume / JOURNAL).read_bytes()) == (before, written)
    assert counters(carry_out(cleanup_task(volume, rule(include=["old"])))).removed == 2
    assert trashed(volume) == set()


def test_a_journal_of_any_length_is_read_to_its_end(volume: Path) -> None:
    item(volume / "d", "a")
    leave(volume, committed=True)
    journal = volume / JOURNAL
    told = journal.read_bytes()
    with open(journal, "wb") as file:
        for _ in range(66):
            row = {"entry": "gone", "state": "over", "run": "x" * (1 << 20)}
            file.write(json.dumps(row).encode() + b"\n")
        file.write(b"x" * (17 << 20) + b"\n")
        file.write(told + b'{"entry":"x","sta')
    item(volume / "d", "a")
    done = counters(carry_out(cleanup_task(volume, directories(older="50d"))))
    assert (done.removed, "journal" in "".join(done.notes)) == (1, False)
    assert trashed(volume) == set()


def test_what_could_not_come_back_is_still_known_after_others_went(volume: Path) -> None:
    item(volume / "d", "a")
    leave(volume, committed=False)
    item(volume / "d", "other", days=1)  # its place is taken
    (name,) = (path.name for path in (volume / ".housekeeper/trash").iterdir() if path.is_dir())
    with holding(volume / ".housekeeper/trash" / name / "a", "reader"):
        item(volume / "old", "a")
        done = counters(carry_out(cleanup_task(volume, directories())))
    assert (done.removed, left(volume)) == (1, {"d"})
    again = counters(carry_out(cleanup_task(volume, directories())))
    assert (again.removed, "journal" in "".join(again.notes)) == (1, False)
    assert trashed(volume) == set()


def test_a_long_journal_is_written_anew_without_what_is_over(volume: Path) -> None:
    item(volume / "d", "a")
    leave(volume, committed=False)
    item(volume / "d", "other", days=1)
    journal = volume / JOURNAL
    with open(journal, "ab") as file:
        file.writelines(
            b'{"entry":"e%d","state":"over","run":"%s"}\n' % (number, b"r" * 60) for number in range(20_000)
        )
    (name,) = (path.name for path in (volume / ".housekeeper/trash").iterdir() if path.is_dir())
    with holding(volume / ".housekeeper/trash" / name / "a", "reader"):
        carry_out(cleanup_task(volume, directories(older="50d")))
    assert [json.loads(line)["entry"] for line in journal.read_text().splitlines()] == [name]
    assert counters(carry_out(cleanup_task(volume, directories(older="50d")))).removed == 1
    assert trashed(volume) == set()

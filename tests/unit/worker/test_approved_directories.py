"""Approval of plans of directories: what was held goes, removed or into quarantine, and what is another stays."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from housekeeper_api.result import Result, as_dict
from housekeeper_api.task import Action, Mode, Rule
from tests.unit.worker.builders import (
    OLD,
    age,
    as_user,
    carry_out,
    counters,
    directories,
    files_below,
    item,
    rule,
    users_files,
    write,
)
from tests.unit.worker.confinement import UID
from tests.unit.worker.quarantines import put_back, quarantine_task, quarantined_directories


@pytest.fixture(params=["Delete", "Quarantine"])
def action(request: pytest.FixtureRequest) -> Action:
    """What becomes of what goes."""
    return "Delete" if request.param == "Delete" else "Quarantine"


def run(volume: Path, action: Action, approve: str | None = None, mode: Mode = "Enforce") -> Result:
    """A run that a brake holds unless it is approved."""
    one = directories(["runs/*"], action=action)
    return carry_out(quarantine_task(volume, one, max_items=0, approve=approve, mode=mode))


def gone(result: Result) -> int:
    """Directories that went, whichever way."""
    return counters(result).removed + counters(result).quarantined


@pytest.fixture
def runs(open_volume: Path) -> Path:
    """A volume with directories that are old."""
    for number in range(6):
        item(open_volume / f"runs/{number}", "a", "deep/b", "deep/er/c")
    return open_volume


@pytest.mark.parametrize("uid", [0, UID], ids=["root", "unprivileged"])
def test_what_was_held_goes_when_it_is_approved(runs: Path, action: Action, uid: int) -> None:
    for path in (runs, *runs.rglob("*")):
        os.chown(path, uid, uid)

    def act() -> list[dict[str, Any]]:
        held = run(runs, action)
        digest = counters(held).plan_digest
        return [as_dict(one) for one in (held, run(runs, action, digest, "DryRun"), run(runs, action, digest))]

    held, dry, done = as_user(uid, act)
    assert (held["outcome"], held["cleanup"]["skipped"]) == ("Held", {"held": 6})
    would = "remove" if action == "Delete" else "quarantine"
    assert f"the plan would {would} 6 of 6 selected" in held["message"]
    for one in (dry, done):
        assert (one["outcome"], one["cleanup"]["planDigest"]) == ("Succeeded", held["cleanup"]["planDigest"])
        told = one["cleanup"]
        assert (told["removed"], told["quarantined"]) == ((6, 0) if action == "Delete" else (0, 6))
        assert told["skipped"] == {}
    assert users_files(runs) == set()
    assert len(quarantined_directories(runs)) == (0 if action == "Delete" else 6)
    assert not list(runs.glob(".housekeeper/plans/*"))
    if action == "Quarantine":
        assert as_user(uid, lambda: as_dict(put_back(runs)))["restore"]["restored"] == 6
        assert files_below(runs / "runs/0") == {b"a", b"deep/b", b"deep/er/c"}


def test_after_chown_they_are_still_what_was_approved(runs: Path, action: Action) -> None:
    digest = counters(run(runs, action)).plan_digest
    for path in (runs / "runs").rglob("*"):
        os.chown(path, 1234, 1234)
    assert gone(run(runs, action, digest)) == 6


def test_what_is_new_replaced_or_changed_stays_whole(runs: Path, action: Action) -> None:
    digest = counters(run(runs, action)).plan_digest
    item(runs / "runs/new", "a")
    shutil.copytree(runs / "runs/1", runs / "runs/copy", copy_function=shutil.copy2)
    os.rename(runs / "runs/1", runs / "moved away")
    os.rename(runs / "runs/copy", runs / "runs/1")  # all of it is as it was, but for being another
    shutil.copystat(runs / "moved away", runs / "runs/1")
    write(runs / "runs/2/deep/b", days=OLD, content=b"x" * 5001)
    write(runs / "runs/3/deep/more", days=OLD)
    age(runs / "runs/3", OLD)
    (runs / "runs/4/a").unlink()
    age(runs / "runs/4", OLD - 1)
    before = {path for path in users_files(runs) if not path.startswith((b"runs/0/", b"runs/5/"))}
    result = run(runs, action, digest)
    assert gone(result) == 2
    assert counters(result).skipped == {"notApproved": 5}
    assert "of 6 approved files 4 stay" in " ".join(counters(result).notes)
    assert users_files(runs) == before


def test_what_came_to_be_used_since_it_was_approved_stays_whole(runs: Path, action: Action) -> None:
    digest = counters(run(runs, action)).plan_digest
    write(runs / "runs/1/deep/.nocleanup", days=OLD)
    with open(runs / "runs/2/deep/b", "rb"):
        result = run(runs, action, digest)
    assert (gone(result), counters(result).skipped) == (4, {"inUse": 1, "marked": 1})
    assert {path.split(b"/")[1] for path in users_files(runs)} == {b"1", b"2"}


@pytest.mark.parametrize("kind", ["directories", "files"])
def test_who_approved_a_quarantine_gets_no_removal(runs: Path, action: Action, kind: str) -> None:
    """The policy was edited since. The other way is less than was approved."""

    def one(how: Action) -> Rule:
        return directories(["runs/*"], action=how) if kind == "directories" else rule(include=["runs/**"], action=how)

    other: Action = "Delete" if action == "Quarantine" else "Quarantine"
    before = users_files(runs)
    held = carry_out(quarantine_task(runs, one(action), max_items=0))
    items = counters(held).planned
    result = carry_out(quarantine_task(runs, one(other), max_items=0, approve=counters(held).plan_digest))
    if action == "Quarantine":
        assert (gone(result), counters(result).skipped, users_files(runs)) == (0, {"notApproved": items}, before)
        assert f"{items} of the approved files were to be quarantined" in " ".join(counters(result).notes)
    else:
        assert (counters(result).removed, counters(result).quarantined) == (0, items)

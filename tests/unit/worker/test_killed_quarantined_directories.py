"""SIGKILL at hundreds of moments while directories go into quarantine, come back and are purged: none is halved."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

from housekeeper_api.result import Result
from tests.unit.worker.builders import carry_out, directories, files_below, item, rule
from tests.unit.worker.quarantines import (
    KEPT_DAYS,
    put_back,
    quarantine_task,
    quarantined_directories,
    quarantines,
    quarantining,
)
from tests.unit.worker.test_undo_killed import count_steps, killed, outcome

KILLS = 40
"""Of each kind, for each user."""
INSIDE = {b"a", b"deep/b", b"deep/er/c", b"deep/er/d"}
RULES = quarantining(directories(["run-*", "apart-*/run"])), quarantining(rule(include=["files/**"]))


def plant(volume: Path, uid: int) -> set[str]:
    """Old directories beside each other and apart, a young one, and old files. Returns paths of those that go."""
    going = {*(f"run-{number}" for number in range(4)), *(f"apart-{number}/run" for number in range(3))}
    for path in going:
        item(volume / path, *map(os.fsdecode, INSIDE))
    item(volume / "run-young", *map(os.fsdecode, INSIDE), days=-1000)
    item(volume / "files/deep", "a", "b")
    for path in (volume, *(path for path in volume.rglob("*") if ".housekeeper" not in path.parts)):
        os.chown(path, uid, uid)
    return going


def visible(volume: Path) -> set[str]:
    """Paths of the directories that are at their places; each must be whole."""
    paths = [path for path in (*volume.glob("run-*"), *volume.glob("apart-*/run")) if path.name != "run-young"]
    assert {frozenset(files_below(path)) for path in (*paths, volume / "run-young")} == {frozenset(INSIDE)}
    return {os.fspath(path.relative_to(volume)) for path in paths}


def restorable(volume: Path) -> set[str]:
    """Paths of those that are in quarantine, and known there; each must be whole."""
    found = quarantined_directories(volume)
    assert {frozenset(names) for names in found.values()} <= {frozenset(INSIDE)}
    return set(found)


def test_killed_while_it_moves(memory_volume: Path, uid: int) -> None:
    chance = random.Random(uid)
    plant(memory_volume, uid)

    def act() -> Result:
        return carry_out(quarantine_task(memory_volume, *RULES))

    steps = count_steps(act, uid)
    halfway = 0
    for _ in range(KILLS):
        shutil.rmtree(memory_volume / ".housekeeper", ignore_errors=True)
        going = plant(memory_volume, uid)
        killed(act, chance.randrange(steps), uid)
        at_place, away = visible(memory_volume), restorable(memory_volume)
        assert (at_place | away, at_place & away) == (going, set())
        halfway += bool(at_place and away)
        assert outcome(act, uid) == "Succeeded"
        assert (visible(memory_volume), restorable(memory_volume)) == (set(), going)
    assert halfway > KILLS // 10


def test_killed_while_it_puts_back(memory_volume: Path, uid: int) -> None:
    chance = random.Random(uid)

    def act() -> Result:
        return put_back(memory_volume)

    def prepare() -> set[str]:
        shutil.rmtree(memory_volume / ".housekeeper", ignore_errors=True)
        going = plant(memory_volume, uid)
        assert outcome(lambda: carry_out(quarantine_task(memory_volume, *RULES)), uid) == "Succeeded"
        shutil.rmtree(memory_volume / "apart-1")
        return going

    prepare()
    steps = count_steps(act, uid)
    halfway = 0
    for _ in range(KILLS):
        going = prepare()
        killed(act, chance.randrange(steps), uid)
        at_place, away = visible(memory_volume), restorable(memory_volume)
        assert (at_place | away, at_place & away) == (going, set())
        halfway += bool(at_place and away)
        assert outcome(lambda: put_back(memory_volume, attempt=2), uid) == "Succeeded"
        assert (visible(memory_volume), restorable(memory_volume)) == (going, set())
        assert [list(quarantine.iterdir()) for quarantine in quarantines(memory_volume)] in ([], [[]])
    assert halfway > KILLS // 20


def test_killed_while_it_purges(memory_volume: Path, uid: int) -> None:
    chance = random.Random(uid)
    nothing = rule(include=["nothing"])

    def purge() -> Result:
        return carry_out(quarantine_task(memory_volume, nothing), later=KEPT_DAYS + 1)

    def prepare() -> set[str]:
        shutil.rmtree(memory_volume / ".housekeeper", ignore_errors=True)
        going = plant(memory_volume, uid)
        assert outcome(lambda: carry_out(quarantine_task(memory_volume, *RULES)), uid) == "Succeeded"
        return going

    prepare()
    steps = count_steps(purge, uid)
    begun = 0
    for _ in range(KILLS):
        going = prepare()
        killed(purge, chance.randrange(steps), uid)
        left = restorable(memory_volume)
        assert left <= going
        begun += any(memory_volume.glob(".housekeeper/quarantine/*/*/*.*"))
        # Half of the time somebody restores what the killed purge left.
        if chance.randrange(2) and left:
            assert outcome(lambda: put_back(memory_volume, attempt=2), uid) == "Succeeded"
            assert visible(memory_volume) == left
        assert outcome(purge, uid) == "Succeeded"
        assert (restorable(memory_volume), quarantines(memory_volume)) == (set(), [])
    assert begun > KILLS // 5

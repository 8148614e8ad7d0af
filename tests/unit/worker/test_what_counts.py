"""What stays and does not count stands for nothing that goes: a brake is not the weaker for it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from housekeeper_api.task import ItemTime, Keep, Rule
from tests.unit.worker.builders import (
    OLD,
    carry_out,
    cleanup_task,
    counters,
    directories,
    item,
    rule,
    users_files,
    write,
)

HOUSEKEEPER = Path(sys.executable).with_name("housekeeper")
POLICY = """\
apiVersion: housekeeper.dev/v1alpha1
kind: CleanupPolicy
metadata: {name: dumps}
spec:
  target: {volume: {persistentVolumeClaim: {claimName: data}}}
  rules:
  - {name: old, select: {include: ["**"], ignoreIncomplete: true}, removeOlderThan: 30d}
"""
ALL_OF_IT = Keep(max_total_size=1, at_least=0)
"""Nothing of a group fits."""
BY_HOST = r"(?P<host>[a-z]+)-.*"


def dumps(volume: Path) -> Rule:
    for number in range(4):
        write(volume / f"prod-{number}-2026010{number + 1}.dump", days=number + 1, content=b"x" * 4096)
    return rule(older=None, keep=ALL_OF_IT, group_by=BY_HOST, ignore_incomplete=True)


def _incomplete(volume: Path) -> Rule:
    write(volume / "prod-9-20260109.dump.part")
    return dumps(volume)


def _of_the_future(volume: Path) -> Rule:
    write(volume / "prod-9-20260109.dump", days=-5)
    return dumps(volume)


def _without_a_time(volume: Path) -> Rule:
    write(volume / "prod-README")
    made = dumps(volume)
    return rule(older=None, keep=made.keep, group_by=BY_HOST, time=ItemTime("Name", "%Y%m%d"))


def _runs(volume: Path) -> Rule:
    for number in range(4):
        item(volume / f"prod-{number}", "a", days=number + 1)
    return directories(older=None, keep=ALL_OF_IT, group_by=BY_HOST, ignore_incomplete=True)


def _incomplete_directory(volume: Path) -> Rule:
    item(volume / "prod-9", "a.tmp")
    return _runs(volume)


def _marked_directory(volume: Path) -> Rule:
    item(volume / "prod-9", ".nocleanup")
    return _runs(volume)


def _directory_of_the_future(volume: Path) -> Rule:
    item(volume / "prod-9", "a", days=-5)
    return _runs(volume)


@pytest.mark.parametrize(
    "fill",
    [
        _incomplete,
        _of_the_future,
        _without_a_time,
        _incomplete_directory,
        _marked_directory,
        _directory_of_the_future,
    ],
)
def test_what_does_not_count_is_nothing_that_would_be_left_of_a_group(
    volume: Path, fill: Callable[[Path], Rule]
) -> None:
    made = fill(volume)
    before = users_files(volume)
    result = carry_out(cleanup_task(volume, made))
    assert result.outcome == "Held", result.message
    assert "nothing would be left of a group rule" in result.message
    assert counters(result).skipped["held"] == 4
    assert users_files(volume) == before


def _half_incomplete(volume: Path) -> Rule:
    for number in range(4):
        write(volume / f"{number}.new.part", days=OLD)
    return rule(ignore_incomplete=True)


def _half_sticky(volume: Path) -> Rule:
    for number in range(4):
        write(volume / f"sticky-{number}", days=OLD)
        (volume / f"sticky-{number}").chmod(0o1644)
    return rule()


def _half_reserved(volume: Path) -> Rule:
    for number in range(4):
        write(volume / f".nfs000{number}", days=OLD)
    return rule()


def _half_of_the_future(volume: Path) -> Rule:
    for number in range(4):
        write(volume / f"future-{number}", days=-1)
    return rule()


def _half_without_a_time(volume: Path) -> Rule:
    for number in range(4):
        write(volume / f"README-{number}", days=OLD)
    return rule(time=ItemTime("Name", "%Y%m%d"))


@pytest.mark.parametrize(
    "fill", [_half_incomplete, _half_sticky, _half_reserved, _half_of_the_future, _half_without_a_time]
)
@pytest.mark.parametrize("processes", [1, 2])
def test_what_does_not_count_makes_no_plan_a_smaller_part(
    volume: Path, fill: Callable[[Path], Rule], processes: int
) -> None:
    made = fill(volume)
    for number in range(1, 5):
        write(volume / f"old-2026010{number}", days=OLD)
    before = users_files(volume)
    result = carry_out(cleanup_task(volume, made, max_percent=50, processes=processes))
    assert result.outcome == "Held", result.message
    assert "would remove 4 of 8 selected files" in result.message
    assert "100.0 % of the 4 that count is more than brakes.maxPercent 50" in result.message
    assert users_files(volume) == before
    # With four that do count it is half of them.
    for number in range(4):
        write(volume / f"young-{time.strftime('%Y%m%d', time.gmtime())}-{number}")
    assert carry_out(cleanup_task(volume, made, max_percent=50, processes=processes)).outcome == "Succeeded"
    assert len(users_files(volume)) == 8


def test_nor_do_directories_that_stay_whole(volume: Path) -> None:
    for number in range(4):
        item(volume / f"old-{number}", "a")
        item(volume / f"marked-{number}", ".nocleanup")
    result = carry_out(cleanup_task(volume, directories(), max_percent=50))
    assert result.outcome == "Held", result.message
    assert "100.0 % of the 4 that count" in result.message


def test_a_simulation_judges_the_same(tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl"
    names = [f"{number}.dump{suffix}" for number in range(10) for suffix in ("", "x.part")]
    items.write_text("".join(json.dumps({"path": name, "time": 0, "size": 1}) + "\n" for name in names))
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    done = subprocess.run(
        [HOUSEKEEPER, "simulate", policy, "--items", items], capture_output=True, text=True, check=True
    )
    assert "100.0 % of the 10 that count is more than brakes.maxPercent 50" in done.stderr

"""What stays and does not count stands for nothing that goes: a brake is not the weaker for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from housekeeper_api.result import Cleanup, Result
from housekeeper_api.task import ItemTime, Keep, Rule
from tests.unit.worker.builders import carry_out, cleanup_task, directories, item, rule, users_files, write

ALL_OF_IT = Keep(max_total_size=1, at_least=0)
"""Nothing of a group fits."""
BY_HOST = r"(?P<host>[a-z]+)-.*"


def counters(result: Result) -> Cleanup:
    assert result.cleanup is not None, result
    return result.cleanup


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

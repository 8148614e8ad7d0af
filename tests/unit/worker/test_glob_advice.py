"""Globs that take nothing, although something is there: the result says so, and what would take it."""

from __future__ import annotations

from pathlib import Path

import pytest

from housekeeper_api.task import PastRun, Rule
from housekeeper_worker.stop import Stop
from tests.unit.worker.builders import OLD, carry_out, cleanup_task, counters, directories, item, rule, write

WHOLE = "globs are over the whole path from the volume's root"


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("path", "one", "advice"),
    [
        ("logs", rule(include=["*.log"]), f"no file is taken by include: {WHOLE}, as in `logs/**/*.log`"),
        ("logs", rule(include=["logs"]), f"{WHOLE}, as in `logs/**`"),
        ("logs", rule(include=["sub"]), f"{WHOLE}, as in `logs/sub/**`"),
        ("", rule(include=["logs"]), f"{WHOLE}, as in `logs/**`"),
        ("", rule(include=["*.log"]), f"no file is taken by include: {WHOLE}, as in `**/*.log`"),
        ("", rule(include=["*.{log,txt}"]), f"{WHOLE}, as in `**/*.{{log,txt}}`"),
        ("logs", rule(include=["logs/**/*.txt"]), f"no file is taken by include: {WHOLE}"),
        ("logs", rule(exclude=["**/*.log"]), f"no file is selected by include, exclude: {WHOLE}"),
        ("", rule(group_by="(?P<a>x)", keep_per_group=()), f"no file is selected by include, groupBy: {WHOLE}"),
        ("", directories(["none-*"]), f"no directory is taken by include: {WHOLE}, as in `**/none-*`"),
    ],
)
def test_globs_that_take_nothing_are_told(volume: Path, path: str, one: Rule, advice: str, processes: int) -> None:
    write(volume / "logs/sub/a.log", days=OLD)
    result = carry_out(cleanup_task(volume, one, path=path, processes=processes))
    assert counters(result).matched == 0
    assert result.message.endswith(f"; {advice}") if advice.startswith("no ") else advice in result.message


@pytest.mark.parametrize(
    "one",
    [
        rule(include=["tmp/**"]),
        rule(include=["**/*.tmp"]),
        rule(exclude=["**/*.log"]),
        rule(include=["*"], exclude=["logs"]),
    ],
)
def test_a_volume_without_what_the_rules_are_about_is_nothing_to_advise_on(volume: Path, one: Rule) -> None:
    write(volume / "logs/sub/a.log", days=OLD)
    assert "globs" not in carry_out(cleanup_task(volume, one)).message


@pytest.mark.parametrize("one", [rule(include=["*.log"]), directories(["runs-*"])])
def test_where_nothing_is_or_something_is_selected_there_is_no_advice(volume: Path, one: Rule) -> None:
    for name in (".housekeeper/own", "lost+found/x"):
        write(volume / name, days=OLD)
    assert "globs" not in carry_out(cleanup_task(volume, one)).message
    write(volume / "young.log")
    item(volume / "runs-1", "a", days=1)
    result = carry_out(cleanup_task(volume, one))
    assert (counters(result).matched, "globs" in result.message) == (1, False)


def test_who_was_stopped_does_not_know_what_the_globs_take(volume: Path) -> None:
    write(volume / "sub/a.log", days=OLD)
    stop = Stop()
    stop.now("Cancelled")
    assert "globs" not in carry_out(cleanup_task(volume, rule(include=["*.log"])), stop=stop).message


def test_a_brake_tells_nothing_was_looked_into_from_nothing_is_there(volume: Path) -> None:
    state = (PastRun(1, 500, 500, 10, 10),)
    write(volume / "logs/sub/a.log", days=OLD)
    held = carry_out(cleanup_task(volume, rule(include=["*.log"]), path="logs", state=state))
    assert held.outcome == "Held"
    assert "nothing was looked into, where the last run left 490 files" in held.message
    assert "is the right volume mounted" in held.message
    assert "as in `logs/**/*.log`" in held.message


def test_a_marker_at_the_root_is_no_empty_volume(volume: Path) -> None:
    state = (PastRun(1, 500, 500, 10, 10),)
    write(volume / "a.log", days=OLD)
    write(volume / ".nocleanup")
    result = carry_out(cleanup_task(volume, state=state))
    assert (result.outcome, counters(result).skipped) == ("Succeeded", {"marked": 1})

"""Rules with `keep` on real directories: whole runs, in which a group is decided when all of it is known."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housekeeper_api.task import GroupKeep, ItemTime, Keep, Rule, TaskError
from housekeeper_worker.retention.decide import Decided
from tests.unit.worker.builders import as_user, carry_out, cleanup_task, counters, files_below, rule, users_files, write

ENVIRONMENTS = r"(?:.*/)?(?P<env>prod|qa|dev|test)[-_][^/]*"
PER_ENVIRONMENT = (GroupKeep({"env": "prod"}, Keep(last=10)), GroupKeep({"env": "test"}, Keep(last=3)))


def keeping(keep: Keep | None, older: str | None = None, **members: object) -> Rule:
    return dataclasses.replace(rule(), remove_older_than=older, keep=keep, **members)


def decisions(volume: Path, *rules: Rule, settle: float = 0) -> dict[str, Decided]:
    found: dict[str, Decided] = {}
    task = cleanup_task(volume, *rules, mode="DryRun", settle=settle)
    carry_out(task, on_decision=lambda one: found.update({os.fsdecode(one.path): one}))
    return found


@pytest.fixture
def dumps(volume: Path) -> Path:
    """Twelve dumps of each environment, a day apart, and two names that are of none."""
    for environment in ("prod", "qa", "dev", "test"):
        for age in range(12):
            write(volume / f"pg/{environment}-{age:02}.dump", days=age + 1)
    write(volume / "pg/latest-prod", days=100)
    write(volume / "pg/production-1.dump", days=100)
    return volume


def test_each_group_keeps_its_own(dumps: Path, prefer_fallback: bool) -> None:
    one = keeping(Keep(last=5), group_by=ENVIRONMENTS, keep_per_group=PER_ENVIRONMENT)
    result = carry_out(cleanup_task(dumps, one), prefer_fallback=prefer_fallback)
    assert result.outcome == "Succeeded", result.message
    wanted = {"prod": 10, "qa": 5, "dev": 5, "test": 3}
    left = set(map(os.fsdecode, files_below(dumps)))
    assert left == {"pg/latest-prod", "pg/production-1.dump"} | {
        f"pg/{environment}-{age:02}.dump" for environment, count in wanted.items() for age in range(count)
    }
    done = counters(result)
    assert (done.scanned, done.matched, done.removed, done.skipped) == (50, 48, 25, {})
    again = counters(carry_out(cleanup_task(dumps, one)))
    assert again.removed == 0


@pytest.mark.parametrize("order", ["amz", "azm", "maz", "mza", "zam", "zma"])
@pytest.mark.parametrize("of_no_time", ["README.dump", "d9-20990101.dump"])
def test_a_directory_of_which_nothing_counts_is_no_matter(memory_volume: Path, order: str, of_no_time: str) -> None:
    """However it comes between others whose times are equal, so that paths decide."""
    names = {"a": "d1-20260101.dump", "m": "d2-20260101.dump", "z": of_no_time}
    for directory in order:
        write(memory_volume / directory / names[directory])
    one = keeping(Keep(last=1), time=ItemTime("Name", "%Y%m%d"))
    found = decisions(memory_volume, one)
    assert {path: decided.verdict.name for path, decided in found.items()} == {
        "a/d1-20260101.dump": "REMOVE",
        "m/d2-20260101.dump": "KEPT",
        f"z/{of_no_time}": "UNPARSABLE" if of_no_time == "README.dump" else "FUTURE",
    }
    carry_out(cleanup_task(memory_volume, one))
    assert set(map(os.fsdecode, files_below(memory_volume))) == {"m/d2-20260101.dump", f"z/{of_no_time}"}


def test_what_a_group_does_not_take_falls_to_the_next_rule(dumps: Path) -> None:
    first = keeping(Keep(last=1), group_by=ENVIRONMENTS)
    second = rule("rest", older="30d")
    decided = decisions(dumps, first, second)
    assert {path for path, one in decided.items() if one.rule == 1} == {"pg/latest-prod", "pg/production-1.dump"}
    assert len(decided) == 50


def test_with_an_age_besides_both_must_agree(volume: Path) -> None:
    for age in range(6):
        write(volume / f"d/{age}", days=age * 10 + 1)
    decided = decisions(volume, keeping(Keep(last=2), "25d"))
    assert {path: (one.verdict.name, one.reasons) for path, one in decided.items()} == {
        "d/0": ("KEPT", ("last 1/2", "not older than 25d")),
        "d/1": ("KEPT", ("last 2/2", "not older than 25d")),
        "d/2": ("YOUNG", ("not older than 25d",)),
        "d/3": ("REMOVE", ("older than 25d", "not among last 2")),
        "d/4": ("REMOVE", ("older than 25d", "not among last 2")),
        "d/5": ("REMOVE", ("older than 25d", "not among last 2")),
    }
    done = counters(carry_out(cleanup_task(volume, keeping(Keep(last=2), "25d"))))
    assert done.removed == 3
    assert {one["reason"] for one in done.sample} == {", ".join(one.reasons) for one in decided.values()}
    assert files_below(volume) == {b"d/0", b"d/1", b"d/2"}


def test_what_settles_counts_and_stays(volume: Path) -> None:
    for age in range(5):
        write(volume / f"{age}", days=age + 1)
    one = keeping(Keep(last=2))
    # Everything was made a moment ago, as its ctime says.
    done = counters(carry_out(cleanup_task(volume, one, settle=600)))
    assert (done.removed, done.skipped) == (0, {"settling": 3})
    assert counters(carry_out(cleanup_task(volume, one, settle=600), later=1)).removed == 3
    assert files_below(volume) == {b"0", b"1"}


def test_the_future_stays_and_does_not_count(volume: Path) -> None:
    for age in (-3, -2, 1, 2, 3):
        write(volume / f"{age}", days=age)
    done = counters(carry_out(cleanup_task(volume, keeping(Keep(last=1, within="36h")))))
    assert (done.removed, done.skipped) == (1, {"future": 2})
    assert files_below(volume) == {b"-3", b"-2", b"1", b"2"}


def test_equal_times_are_told_apart_by_path(volume: Path) -> None:
    for name in ("b/2", "a/9", "a/10", "c"):
        write(volume / name)
        os.utime(volume / name, ns=(10**18, 10**18))
    carry_out(cleanup_task(volume, keeping(Keep(last=2))))
    assert files_below(volume) == {b"c", b"b/2"}


def test_times_of_names_decide_whatever_the_files_say(volume: Path) -> None:
    for name in ("x-20260101.dump", "x-20260102.dump", "x-20260103.dump", "x.dump", "x-20269999.dump"):
        write(volume / name, days=1)
    one = keeping(Keep(last=1), time=ItemTime("Name", "%Y%m%d"))
    result = carry_out(cleanup_task(volume, one))
    assert counters(result).skipped == {"unparsable": 2}
    assert files_below(volume) == {b"x-20260103.dump", b"x.dump", b"x-20269999.dump"}
    assert counters(result).matched == 5
    age = keeping(None, "1d", time=ItemTime("Name", "%Y%m%d"))
    assert counters(carry_out(cleanup_task(volume, age))).removed == 1


def test_the_cap_counts_allocated_bytes_and_a_file_with_two_names_once(volume: Path) -> None:
    for age in range(4):
        write(volume / f"{age}", days=age + 1, content=b"x" * 4096)
    os.link(volume / "0", volume / "0-again")
    decided = decisions(volume, keeping(Keep(max_total_size=3 * 4096)))
    assert [path for path, one in sorted(decided.items()) if one.verdict.name == "REMOVE"] == ["3"]
    assert decided["3"].reasons == ("beyond maxTotalSize 12.0 KiB",)
    assert decided["0"].reasons == ("within maxTotalSize 12.0 KiB",)


def test_a_group_is_never_emptied(volume: Path) -> None:
    for environment in ("prod", "qa"):
        write(volume / f"{environment}-1", days=1, content=b"x" * 8192)
    emptying = keeping(Keep(max_total_size=1, at_least=0), group_by=ENVIRONMENTS)
    result = carry_out(cleanup_task(volume, emptying))
    assert result.outcome == "Held"
    assert "nothing would be left of a group rule old (env=prod and 1 more) keeps" in result.message
    assert counters(result).skipped == {"held": 2}
    assert len(users_files(volume)) == 2
    assert (
        carry_out(cleanup_task(volume, keeping(Keep(max_total_size=1), group_by=ENVIRONMENTS))).outcome == "Succeeded"
    )
    assert len(users_files(volume)) == 2


def test_the_brakes_judge_the_whole_plan(dumps: Path) -> None:
    result = carry_out(cleanup_task(dumps, keeping(Keep(last=3), group_by=ENVIRONMENTS), max_percent=50))
    assert result.outcome == "Held"
    assert "would remove 36 of 48 selected files" in result.message
    assert "75.0 % is more than brakes.maxPercent 50" in result.message
    assert len(users_files(dumps)) == 50


def test_nothing_goes_by_size_while_something_cannot_be_read(open_volume: Path) -> None:
    for age in range(4):
        write(open_volume / f"open/{age}", days=age + 1, content=b"x" * 4096)
    write(open_volume / "closed/x", days=1)
    os.chmod(open_volume / "closed", 0o700)

    def removed(keep: Keep) -> list[object]:
        done = counters(carry_out(cleanup_task(open_volume, keeping(keep), mode="DryRun")))
        return [done.removed, done.skipped.get("unlisted", 0)]

    assert as_user(65532, lambda: removed(Keep(max_total_size=8192))) == [0, 2]
    assert as_user(65532, lambda: removed(Keep(last=2))) == [2, 0]


def test_the_audit_says_group_and_reasons(dumps: Path, tmp_path: Path) -> None:
    log = tmp_path / "audit"
    fd = os.open(log, os.O_WRONLY | os.O_CREAT)
    carry_out(cleanup_task(dumps, keeping(Keep(last=11), "1d", group_by=ENVIRONMENTS)), audit_fd=fd)
    os.close(fd)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    removed = {line["path"]: (line["group"], line["reason"]) for line in lines if line["event"] == "removed"}
    assert removed["pg/qa-11.dump"] == ({"env": "qa"}, "older than 1d, not among last 11")
    assert len(removed) == 4


def test_a_rule_that_says_nothing_is_no_task(volume: Path) -> None:
    with pytest.raises(TaskError, match="neither keep nor removeOlderThan"):
        carry_out(cleanup_task(volume, keeping(None)))


AGES = st.lists(st.integers(0, 200), max_size=25)
KEEPS = st.builds(
    Keep,
    last=st.none() | st.integers(1, 5),
    daily=st.none() | st.integers(1, 5),
    within=st.none() | st.sampled_from(["2d", "1w"]),
    at_least=st.integers(0, 2),
)


@settings(max_examples=40, deadline=None)
@given(ages=AGES, keep=KEEPS, older=st.none() | st.sampled_from(["1d", "3d"]), percent=st.integers(0, 100))
def test_a_run_keeps_what_its_plan_said_and_stays_below_its_brakes(
    tmp_path_factory: pytest.TempPathFactory, ages: list[int], keep: Keep, older: str | None, percent: int
) -> None:
    volume = tmp_path_factory.mktemp("volume")
    for number, age in enumerate(ages):
        write(volume / f"{number % 3}/{number}", days=age / 10)
    one = keeping(keep, older)
    decided = decisions(volume, one)
    assert {os.fsencode(path) for path in decided} == files_below(volume)
    assert all(found.reasons for found in decided.values())
    going = {os.fsencode(path) for path, found in decided.items() if found.verdict.name == "REMOVE"}
    result = carry_out(cleanup_task(volume, one, max_percent=percent))
    left = {os.fsencode(path) for path in decided} - (set() if result.outcome == "Held" else going)
    assert users_files(volume) == left
    if result.outcome != "Held":
        assert len(going) * 100 <= percent * len(ages)
        assert counters(carry_out(cleanup_task(volume, one))).removed == 0

"""Approval: what was held is carried out, less what changed and what the rules would keep by now. It only narrows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housekeeper_api.task import Keep, PastRun, Rule, TaskError
from tests.unit.worker.approving import approve, held, plans
from tests.unit.worker.builders import (
    OLD,
    as_user,
    carry_out,
    cleanup_task,
    counters,
    files_below,
    rule,
    users_files,
    write,
)
from tests.unit.worker.confinement import UID


@pytest.fixture
def logs(volume: Path) -> Path:
    for name in ("a/1", "a/2", "b/1", "b\n\xff", "z"):
        write(volume / name, days=OLD)
    write(volume / "young")
    return volume


def test_a_held_plan_is_carried_out_when_it_is_approved(logs: Path) -> None:
    digest = held(logs)
    assert len(users_files(logs)) == 6
    result = approve(logs, digest)
    assert (result.outcome, counters(result).removed, counters(result).plan_digest) == ("Succeeded", 5, digest)
    assert users_files(logs) == {b"young"}
    assert plans(logs) == set()  # what is carried out waits no more


def test_a_plan_and_its_directories_are_for_the_worker_alone(logs: Path) -> None:
    digest = held(logs)
    own = logs / ".housekeeper"
    modes = [path.stat().st_mode & 0o777 for path in (own, own / "plans", own / "plans" / f"{digest[7:]}.plan")]
    assert modes == [0o700, 0o700, 0o600]


def test_after_chown_the_plan_is_still_the_plan(logs: Path) -> None:
    digest = held(logs)
    for path in users_files(logs):
        os.chown(os.fsencode(logs) + b"/" + path, 1234, 1234)
    assert counters(approve(logs, digest)).removed == 5


def test_what_is_new_replaced_or_changed_is_not_touched(logs: Path) -> None:
    digest = held(logs)
    write(logs / "a/new", days=OLD)
    write(logs / "replacement", days=OLD)
    moment = (logs / "a/1").stat().st_mtime_ns
    os.utime(logs / "replacement", ns=(moment, moment))
    os.replace(logs / "replacement", logs / "a/1")  # another file of the same name, time and size
    os.utime(logs / "a/2", ns=(moment, moment - 1))
    with open(logs / "b/1", "ab") as file:
        file.write(b"more")
    os.utime(logs / "b/1", ns=(moment, moment))
    result = approve(logs, digest)
    assert users_files(logs) == {b"young", b"a/new", b"a/1", b"a/2", b"b/1"}
    assert (counters(result).removed, counters(result).skipped) == (2, {"notApproved": 4})
    assert counters(result).planned == 6
    assert "of 5 approved files 3 stay" in " ".join(counters(result).notes)


def test_a_file_made_again_with_the_inode_and_times_of_the_old_one_is_another(logs: Path) -> None:
    digest = held(logs)
    before = (logs / "z").stat()
    os.unlink(logs / "z")
    for number in range(1000):  # the file system gives the number of the removed inode to one of the next files
        write(logs / f"filler/{number}")
        if (logs / f"filler/{number}").stat().st_ino == before.st_ino:
            os.rename(logs / f"filler/{number}", logs / "z")
            os.utime(logs / "z", ns=(before.st_atime_ns, before.st_mtime_ns))
            break
    else:
        write(logs / "z", days=OLD)
    approve(logs, digest)
    assert b"z" in users_files(logs)


def test_after_all_keepers_vanished_the_group_keeps_what_is_left_of_it(volume: Path) -> None:
    for age in range(10):
        write(volume / f"dump-{age}", days=age + 1)
    dumps = Rule("dumps", ("**",), (), keep=Keep(last=3))
    digest = held(volume, dumps)
    for age in range(3):
        os.unlink(volume / f"dump-{age}")
    result = approve(volume, digest, dumps)
    assert users_files(volume) == {b"dump-3", b"dump-4", b"dump-5"}
    assert counters(result).removed == 4


def test_brakes_do_not_apply_to_what_was_approved(volume: Path) -> None:
    write(volume / "only", days=OLD)
    emptying = Rule("dumps", ("**",), (), keep=Keep(max_total_size=1, at_least=0))
    digest = held(volume, emptying, max_percent=0, max_bytes=0)
    assert approve(volume, digest, emptying, max_percent=0, max_bytes=0).outcome == "Succeeded"
    assert users_files(volume) == set()


def test_rules_of_today_decide_about_what_was_approved_before(logs: Path) -> None:
    digest = held(logs)
    approve(logs, digest, rule(exclude=("a/**",)))
    assert users_files(logs) == {b"young", b"a/1", b"a/2"}


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _overwritten(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _extended(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


def _emptied(path: Path) -> None:
    os.truncate(path, 0)


def _of_another_format(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"housekeeper-plan/1", b"housekeeper-plan/9", 1))


def _with_another_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"attempt":1', b'"attempt":2', 1))


def _garbage(path: Path) -> None:
    path.write_bytes(b'{"format":"housekeeper-plan/1"}\n' + bytes(range(256)))


def _a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _a_pipe(path: Path) -> None:
    os.unlink(path)
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_truncated, "is damaged: it ends after 4 of 5 items"),
        (_overwritten, "is damaged: its digest is another one"),
        (_extended, "is damaged: it ends after 5 of 5 items"),
        (_emptied, "is damaged: it has no first line"),
        (_of_another_format, "is damaged: its format is 'housekeeper-plan/9'"),
        (_with_another_header, "is damaged: its digest is another one"),
        (_garbage, "is damaged: its first line is no header of a plan"),
        (_a_link, "cannot be read"),
        (_a_pipe, "is damaged: it has no first line"),
        (os.unlink, "is not there"),
    ],
)
def test_a_lost_or_damaged_plan_is_held_anew(logs: Path, damage: object, said: str) -> None:
    digest = held(logs)
    damage(logs / f".housekeeper/plans/{digest[7:]}.plan")
    result = approve(logs, digest)
    assert result.outcome == "Held"
    assert said in result.message
    assert len(users_files(logs)) == 6
    again = counters(result).plan_digest
    assert again != digest
    assert counters(approve(logs, again)).removed == 5


def test_a_plan_that_no_brake_would_stop_is_held_too_if_another_was_approved(logs: Path) -> None:
    result = carry_out(cleanup_task(logs, approve="sha256:" + "0" * 64))
    assert result.outcome == "Held"
    assert len(users_files(logs)) == 6


def test_an_approved_plan_that_is_not_there_and_nothing_to_do_is_done(volume: Path) -> None:
    write(volume / "young")
    result = carry_out(cleanup_task(volume, approve="sha256:" + "0" * 64))
    assert result.outcome == "Succeeded"
    assert "nothing is left to do" in " ".join(counters(result).notes)


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:" + "g" * 64, "0" * 64, "sha256:../" + "0" * 61])
def test_what_is_no_digest_is_no_task(logs: Path, digest: str) -> None:
    with pytest.raises(TaskError, match=r"cleanup\.approve"):
        approve(logs, digest)


def test_an_expired_plan_is_held_anew(logs: Path) -> None:
    digest = held(logs)
    result = carry_out(cleanup_task(logs, max_items=0, approve=digest), later=8)
    assert result.outcome == "Held"
    assert "has expired: it was made at " in result.message


def test_a_plan_without_an_end_does_not_expire(logs: Path) -> None:
    digest = held(logs, hold_seconds=None)
    task = cleanup_task(logs, max_items=0, approve=digest, hold_seconds=None)
    assert carry_out(task, later=1000).outcome == "Succeeded"


def test_a_plan_of_another_policy_is_held_anew(logs: Path) -> None:
    digest = held(logs, policy="other")
    result = approve(logs, digest)
    assert "is one of the policy default/other" in result.message
    assert len(users_files(logs)) == 6


def test_a_plan_from_the_future_is_held_anew(logs: Path) -> None:
    result = carry_out(cleanup_task(logs, max_items=0), later=2)
    again = approve(logs, counters(result).plan_digest)
    assert "which this node's clock has still before it" in again.message


def test_each_enforcing_run_removes_expired_plans_of_every_policy(logs: Path) -> None:
    held(logs)
    held(logs, policy="other", hold_seconds=3600)
    assert carry_out(cleanup_task(logs, rule(include=("none",)), mode="DryRun"), later=8).outcome == "Succeeded"
    assert len(plans(logs)) == 2
    carry_out(cleanup_task(logs, rule(include=("none",)), policy="third"), later=6)
    assert len(plans(logs)) == 2, "a run that was approved in time may still wait for its turn"
    carry_out(cleanup_task(logs, rule(include=("none",)), policy="third"), later=8)
    assert len(plans(logs)) == 1
    carry_out(cleanup_task(logs, rule(include=("none",)), hold_seconds=5 * 86_400), later=13)
    assert plans(logs) == set()


def test_only_the_last_ten_plans_of_a_policy_stay(logs: Path) -> None:
    other = held(logs, policy="other")
    digests = [held(logs) for _ in range(12)]
    names = {f".housekeeper/plans/{digest[7:]}.plan".encode() for digest in (other, *digests[2:])}
    assert plans(logs) == names


def test_a_dry_run_stores_its_plan_on_the_report_volume_only(logs: Path, tmp_path: Path) -> None:
    for stopped in (None, 0):
        dry = carry_out(cleanup_task(logs, mode="DryRun", max_items=stopped))
        assert counters(dry).plan_stored == ""
    assert plans(logs) == set()
    reports = tmp_path / "reports"
    reports.mkdir()
    dry = carry_out(cleanup_task(logs, mode="DryRun", report=reports))
    digest = counters(dry).plan_digest
    assert dry.outcome == "Succeeded"
    assert counters(dry).plan_stored == f"default/policy/plans/{digest[7:]}.plan"
    assert counters(approve(logs, digest, report=reports)).removed == 5
    assert users_files(logs) == {b"young"}
    assert files_below(reports) == set()


def test_a_dry_run_of_an_approved_plan_changes_nothing(logs: Path) -> None:
    digest = held(logs)
    write(logs / "new", days=OLD)
    result = approve(logs, digest, mode="DryRun")
    assert (counters(result).removed, counters(result).skipped) == (5, {"notApproved": 1})
    assert (len(users_files(logs)), len(plans(logs))) == (7, 1)


def test_with_fail_nothing_is_stored_and_the_run_has_failed(logs: Path) -> None:
    result = carry_out(cleanup_task(logs, max_items=0, on_trip="Fail"))
    assert result.outcome == "Failed"
    assert "5 files are more than brakes.maxItems 0" in result.message
    assert counters(result).skipped == {"held": 5}
    assert plans(logs) == set()


def test_an_emptied_volume_is_accepted_once_a_person_approved_it(volume: Path) -> None:
    state = (PastRun(1, 500, 500, 10, 10),)
    result = carry_out(cleanup_task(volume, state=state))
    assert result.outcome == "Held"
    assert "nothing is there, where the last run left 490 files" in result.message
    approved = carry_out(cleanup_task(volume, state=state, approve=counters(result).plan_digest))
    assert (approved.outcome, counters(approved).scanned) == ("Succeeded", 0)


def test_where_the_plan_cannot_be_stored_nothing_is_removed_and_it_is_said(open_volume: Path) -> None:
    write(open_volume / "data/old", days=OLD)
    os.chown(open_volume / "data", UID, UID)

    def told() -> list[str]:
        result = carry_out(cleanup_task(open_volume, max_items=0))
        return [result.outcome, counters(result).plan_stored, *counters(result).notes]

    outcome, stored, note, *_ = reversed_notes(as_user(UID, told))
    assert (outcome, stored) == ("Held", "")
    assert "could not be stored, so it cannot be approved: no permission to make .housekeeper" in note
    assert users_files(open_volume) == {b"data/old"}


def reversed_notes(told: list[str]) -> list[str]:
    """The newest note first."""
    return [*told[:2], *reversed(told[2:])]


def test_plans_in_a_directory_of_another_user_are_not_believed(open_volume: Path) -> None:
    write(open_volume / "old", days=OLD)
    digest = held(open_volume)
    os.chown(open_volume / ".housekeeper/plans", 1234, 1234)
    result = approve(open_volume, digest)
    assert "belongs to uid 1234" in result.message
    assert users_files(open_volume) == {b"old"}


NAMES = st.sampled_from(["b", "a/c", "a/d", "a.b", "b-c", "e/f/g", "e/f.g"])


@settings(max_examples=40, deadline=None)
@given(before=st.sets(NAMES), after=st.sets(NAMES), touched=st.sets(NAMES))
def test_what_goes_was_approved_and_is_unchanged_and_would_go_today(
    tmp_path_factory: pytest.TempPathFactory, before: set[str], after: set[str], touched: set[str]
) -> None:
    """`before` is there when the plan is made; then what is not in `after` goes, the rest of it comes."""
    volume = tmp_path_factory.mktemp("volume")
    for name in before:
        write(volume / name, days=OLD)
    if not before:
        return
    digest = held(volume)
    for name in before - after:
        os.unlink(volume / name)
    for name in after - before:
        write(volume / name, days=OLD)
    for name in touched & before & after:
        write(volume / name, days=OLD + 1)
    approve(volume, digest)
    gone = {name for name in after if not (volume / name).exists()}
    assert gone == (before & after) - touched

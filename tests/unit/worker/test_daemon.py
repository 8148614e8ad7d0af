"""A policy by its schedule without a cluster: what is due when, what is made up for, and how it ends."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_worker import last_run
from housekeeper_worker.daemon import PolicyFile, Runs, Timetable, due, serve
from tests.unit.worker.builders import OLD, files_below, write
from tests.unit.worker.test_command_line import HOUSEKEEPER, POLICY

HOUR = 3600.0


def at(text: str) -> dt.datetime:
    """A time of 22 November 2026, UTC."""
    return dt.datetime.fromisoformat(f"2026-11-22T{text}:00+00:00")


def daily(deadline: float = HOUR, suspend: bool = False, schedule: str = "0 3 * * *") -> Timetable:
    return Timetable(schedule, "Etc/UTC", deadline, suspend)


@pytest.mark.parametrize(
    ("since", "now", "slot", "missed", "following"),
    [
        ("01:00", "02:59", None, None, "03:00"),
        ("01:00", "03:00", "03:00", None, None),
        ("01:00", "03:59", "03:00", None, None),
        ("01:00", "04:00", None, "03:00", None),  # the deadline is over
        ("03:00", "03:30", None, None, None),  # that one was looked after
    ],
)
def test_a_slot_is_due_until_its_deadline(
    since: str, now: str, slot: str | None, missed: str | None, following: str | None
) -> None:
    asked = due(daily(), at(since), at(now))
    assert asked.slot == (None if slot is None else at(slot))
    assert asked.missed == (None if missed is None else at(missed))
    assert asked.following == (at("03:00") + dt.timedelta(days=1) if following is None else at(following))


def test_of_many_missed_slots_the_last_is_made_up_for() -> None:
    asked = due(daily(schedule="*/10 * * * *"), at("01:00"), at("05:05"))
    assert (asked.slot, asked.missed, asked.following) == (at("05:00"), at("01:10"), at("05:10"))


@given(since=st.integers(0, 3000), late=st.integers(0, 3000), deadline=st.integers(60, 9000))
def test_what_is_due_lies_between_and_is_the_last(since: int, late: int, deadline: int) -> None:
    start = at("00:00") + dt.timedelta(minutes=since)
    now = start + dt.timedelta(minutes=late)
    asked = due(daily(deadline, schedule="*/7 * * * *"), start, now)
    assert asked.following is not None
    assert asked.following > now
    if asked.slot is not None:
        assert start < asked.slot <= now
        assert (now - asked.slot).total_seconds() < deadline
        assert asked.following - asked.slot <= dt.timedelta(minutes=7)


class Story:
    """A clock that goes on by waiting, and runs that take their time."""

    def __init__(self, start: str, takes: float = 0, ends: str = "23:59") -> None:
        self.clock = at(start)
        self.ran: list[str] = []
        self._takes = takes
        self._ends = at(ends)
        self.timetables: dict[str, Timetable | None] = {}
        self.current: Timetable | None = daily()
        self.meanwhile: Callable[[], None] = lambda: None

    def timetable(self) -> Timetable | None:
        for time in sorted(self.timetables):
            if at(time) <= self.clock:
                self.current = self.timetables[time]
        return self.current

    def carry_out(self, slot: dt.datetime) -> None:
        self.ran.append(f"{slot:%H:%M} at {self.clock:%H:%M}")
        self.clock += dt.timedelta(seconds=self._takes)

    def wait(self, seconds: float) -> bool:
        assert 0 <= seconds <= 30
        self.clock += dt.timedelta(seconds=seconds)
        return self.clock < self._ends

    def play(self, since: str | None = None) -> list[str]:
        serve(self, self.carry_out, since=at(since) if since else self.clock, now=lambda: self.clock, wait=self.wait)
        return self.ran


def test_it_runs_at_its_slots() -> None:
    story = Story("00:10")
    story.current = daily(schedule="0 */6 * * *")
    assert story.play() == ["06:00 at 06:00", "12:00 at 12:00", "18:00 at 18:00"]


def test_slots_during_a_long_run_do_not_pile_up() -> None:
    story = Story("00:30", takes=2.6 * HOUR, ends="07:00")
    story.current = daily(schedule="0 * * * *", deadline=0.7 * HOUR)
    assert story.play() == ["01:00 at 01:00", "03:00 at 03:36", "06:00 at 06:12"]


def test_after_a_start_it_makes_up_for_the_slot_that_nobody_kept() -> None:
    assert Story("03:20").play(since="02:00") == ["03:00 at 03:20"]
    assert Story("04:20").play(since="02:00") == []
    assert Story("03:20").play() == []


@pytest.mark.parametrize(("back", "hours"), [(59, (3, 4, 5)), (2 * HOUR, (3, 2, 3, 4, 5))])
def test_a_clock_that_is_put_back_does_not_let_it_rest(
    back: float, hours: tuple[int, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    """As by NTP, after a start with a wrong one. A correction by seconds brings no slot back."""

    class Corrected(Story):
        def carry_out(self, slot: dt.datetime) -> None:
            super().carry_out(slot)
            if len(self.ran) == 1:
                self.clock -= dt.timedelta(seconds=back)

    story = Corrected("02:30", ends="05:30")
    story.current = daily(schedule="0 * * * *")
    assert story.play() == [f"{hour:02}:00 at {hour:02}:00" for hour in hours]
    assert ("the clock was put back" in capfd.readouterr().err) == (hours[1] < 3)


def test_an_edited_schedule_counts_from_the_next_look_on() -> None:
    story = Story("01:00")
    story.timetables["02:00"] = daily(schedule="30 4 * * *")
    assert story.play() == ["04:30 at 04:30"]


@pytest.mark.parametrize("paused", [None, daily(suspend=True)], ids=["invalid", "suspended"])
def test_it_waits_while_the_policy_makes_no_sense_or_is_suspended(paused: Timetable | None) -> None:
    story = Story("01:00")
    story.timetables = {"02:00": paused, "03:30": daily(schedule="0 3,5 * * *")}
    assert story.play() == ["05:00 at 05:00"]


def test_a_policy_file_is_read_again_when_it_changed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("MODE", "DryRun") + '  schedule: "5 4 * * *"\n')
    file = PolicyFile(str(path))
    assert file.timetable() == Timetable("5 4 * * *", "Etc/UTC", HOUR, suspend=False)
    path.write_text("nonsense")
    assert file.timetable() is None
    assert file.timetable() is None
    assert capfd.readouterr().err.count("makes no sense") == 1
    path.unlink()
    assert file.timetable() is None
    path.write_text(POLICY.replace("MODE", "DryRun") + '  schedule: "5 4 * * *"\n  suspend: true\n')
    again = file.timetable()
    assert again is not None
    assert again.suspend


def test_a_policy_file_that_cannot_be_read_for_now_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An interpreter that is not there stands for a machine on which no process can be started, and one that is killed
    for one that is short of memory."""
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("MODE", "DryRun") + '  schedule: "5 4 * * *"\n')
    file = PolicyFile(str(path))
    for interpreter in (tmp_path / "nowhere", killed):
        with monkeypatch.context() as changed:
            changed.setattr(sys, "executable", str(interpreter))
            assert file.timetable() is None
            assert file.timetable() is None
        assert capfd.readouterr().err.count("the policy could not be read") == 1
    assert file.timetable() == Timetable("5 4 * * *", "Etc/UTC", HOUR, suspend=False)


def test_a_run_that_cannot_be_started_ends_no_daemon(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = Runs([str(tmp_path / "nowhere")], str(tmp_path / "state.json"))
    runs.carry_out(at("03:00"))
    told = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert told["level"] == "error"
    assert told["msg"].startswith("the run could not be started")
    assert told["slot"] == "2026-11-22T03:00:00Z"


def lines_until(process: subprocess.Popen[str], wanted: str) -> list[dict[str, Any]]:
    """Log lines of a daemon up to the first whose message begins so."""
    assert process.stderr is not None
    seen = []
    for text in process.stderr:
        line = json.loads(text)
        seen.append(line)
        if str(line.get("msg", "")).startswith(wanted):
            return seen
    raise AssertionError(seen)


def daemon(policy: Path, volume: Path, state: Path, *more: str | Path) -> subprocess.Popen[str]:
    command = [HOUSEKEEPER, "run", policy, "--root", volume, "--state", state, "--daemon", *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state in which the last slot is a few minutes old, so that another is due at once."""
    path = tmp_path / "state.json"
    slot = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=3)
    path.write_text(json.dumps({"version": 1, "slot": slot.strftime("%Y-%m-%dT%H:%M:%SZ")}))
    return path


def test_a_daemon_carries_out_what_is_due_and_ends_when_told(volume: Path, state: Path, tmp_path: Path) -> None:
    write(volume / "old.dump", days=OLD)
    write(volume / "young.dump")
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("MODE", "Enforce") + '  schedule: "* * * * *"\n')
    with daemon(policy, volume, state, "--audit", tmp_path / "audit") as process:
        told = lines_until(process, "run ended")
        assert told[-1]["result"]["cleanup"]["removed"] == 1
        policy.write_text("nonsense")  # it would not even be looked at before the next slot
        process.send_signal(signal.SIGTERM)
        lines_until(process, "daemon ends")
        assert process.wait(10) == 0
    assert files_below(volume) == {b"young.dump"}
    remembered = json.loads(state.read_text())
    assert [one["removed"] for one in remembered["runs"]] == [1]
    assert remembered["slot"] <= remembered["lastRun"]["started"]
    assert remembered["lastRun"]["outcome"] == "Succeeded"
    assert remembered["lastRun"]["removed"] == 1


def test_a_daemon_needs_no_room_for_temporary_files(memory_volume: Path, state: Path) -> None:
    """Where a disk is full a cleaner is wanted most. Places that are read-only stand for those that are full."""
    write(memory_volume / "old.dump", days=OLD)
    write(memory_volume / "young.dump")
    policy, own_state = memory_volume.parent / "policy.yaml", memory_volume.parent / "state.json"
    policy.write_text(POLICY.replace("MODE", "Enforce") + '  schedule: "* * * * *"\n')
    own_state.write_bytes(state.read_bytes())
    read_only = 'for at in /tmp /var/tmp; do mount --bind $at $at && mount -o remount,bind,ro $at; done; exec "$@"'
    run = [HOUSEKEEPER, "run", policy, "--root", memory_volume, "--state", own_state, "--daemon"]
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-ec", read_only, "sh", *run],
        stderr=subprocess.PIPE,
        text=True,
        cwd="/proc",
        env={**os.environ, "TMPDIR": "/proc"},
    ) as process:
        told = lines_until(process, "run ended")
        assert told[-1]["result"]["cleanup"]["removed"] == 1
        process.send_signal(signal.SIGTERM)
        lines_until(process, "daemon ends")
        assert process.wait(10) == 0
    assert files_below(memory_volume) == {b"young.dump"}


def test_two_daemons_at_one_root_have_each_their_own_slots(volume: Path, tmp_path: Path) -> None:
    """The first day of January is missed by who looked after it longer than a year ago, and by nobody else."""
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    for policy in (first, second):
        policy.write_text(POLICY.replace("MODE", "DryRun") + '  schedule: "0 0 1 1 *"\n')
    slot = dt.datetime.now(dt.UTC) - dt.timedelta(days=400)
    last_run.write(last_run.place(str(volume), None, policy=str(first)), {"slot": slot.strftime("%Y-%m-%dT%H:%M:%SZ")})
    for policy, missed in ((first, True), (second, False)):
        command = [HOUSEKEEPER, "run", policy, "--root", volume, "--daemon"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            told = lines_until(process, "waiting for the next slot")
            process.send_signal(signal.SIGTERM)
            lines_until(process, "daemon ends")
            assert process.wait(10) == 0
        assert any("was missed" in str(line.get("msg")) for line in told) is missed


def test_a_daemon_ends_the_run_it_is_in(volume: Path, state: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("MODE", "Enforce") + '  schedule: "* * * * *"\n')
    fd = os.open(volume, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # as another worker, for whose end the run waits
        with daemon(policy, volume, state) as process:
            lines_until(process, "another worker")
            process.send_signal(signal.SIGTERM)
            told = lines_until(process, "daemon ends")
            assert process.wait(10) == 0
    finally:
        os.close(fd)
    ended = next(line for line in told if str(line.get("msg", "")).startswith("run ended"))
    assert ended["result"]["outcome"] == "Cancelled"


def test_a_daemon_needs_a_policy_file(volume: Path) -> None:
    done = subprocess.run(
        [HOUSEKEEPER, "run", "--root", volume, "--days", "3", "--daemon"], capture_output=True, check=False
    )
    assert done.returncode == 64

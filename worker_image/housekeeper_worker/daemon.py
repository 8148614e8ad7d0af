"""`run --daemon`: a policy by its own schedule, in the foreground of a machine without a cluster.

Each run is a process of its own, the same command without `--daemon`, so that what it takes is given back and no run
can end the daemon. One run at a time. Of slots that passed meanwhile (a run that took longer, a machine that slept) at
most the last is made up for, and only within `startingDeadline`, as a CronJob does it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol

from housekeeper_api.next_slot import next_time
from housekeeper_api.schedules import load_time_zone
from housekeeper_worker import last_run, policy_file
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.logs import log

_LONGEST_WAIT: Final = 30.0
"""Seconds between two looks at the clock, which may be set, and at the policy file, which may be changed."""
_ASTRAY: Final = dt.timedelta(minutes=1)
"""By how much a clock may be put back as if nothing had been: a slot that was just carried out does not come again."""
_GRACE: Final = 10.0
"""Seconds that a run has to end after it was told to."""
_SIGNALS: Final = {signal.SIGTERM, signal.SIGINT}


@dataclasses.dataclass(frozen=True, slots=True)
class Timetable:
    """When a policy runs."""

    schedule: str
    """Five fields without `H`."""
    zone: str
    deadline: float
    """Seconds after which a slot that could not start is skipped."""
    suspend: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Due:
    """What a timetable asks for at a moment."""

    slot: dt.datetime | None
    """To be carried out now; None: nothing."""
    missed: dt.datetime | None
    """The first slot that passed and is not made up for."""
    following: dt.datetime | None
    """The first slot still to come; None: there is none within five years."""


def due(timetable: Timetable, since: dt.datetime, now: dt.datetime) -> Due:
    """What is due of the slots after `since`, all in UTC. Pure."""
    zone = load_time_zone(timetable.zone)
    first = next_time(timetable.schedule, zone, since)
    if first is None or first > now:
        return Due(None, None, first)
    slot = None
    moment = max(since, now - dt.timedelta(seconds=timetable.deadline))
    while (found := next_time(timetable.schedule, zone, moment)) is not None and found <= now:
        slot = moment = found
    return Due(slot, None if first == slot else first, found)


class Policy(Protocol):
    """A policy that may be changed while the daemon runs."""

    def timetable(self) -> Timetable | None:
        """When it runs; None where it makes no sense at present, which is told once."""


def serve(
    policy: Policy,
    carry_out: Callable[[dt.datetime], None],
    *,
    since: dt.datetime,
    now: Callable[[], dt.datetime],
    wait: Callable[[float], bool],
) -> None:
    """Carry out what is due, until `wait` returns False.

    `since`: up to when everything was looked after; where the clock is put back by more than a minute, no longer than
    until then, so that slots which it comes to again are carried out again. `wait` waits for at most so many seconds.
    """
    told: dt.datetime | None = None
    going = True
    while going:
        timetable = policy.timetable()
        moment = now()
        if since - moment > _ASTRAY:
            log("warning", "the clock was put back: slots count from now on", wasAt=_text(since), now=_text(moment))
            since = moment
        if timetable is None or timetable.suspend:
            # Slots that pass meanwhile are nobody's: an edit brings none of them back.
            since, told = max(since, moment), None
            going = wait(_LONGEST_WAIT)
            continue
        asked = due(timetable, since, moment)
        if asked.missed is not None:
            log("warning", "a slot was missed and is not made up for", slot=_text(asked.missed))
        if asked.slot is not None or asked.missed is not None:
            since = moment
        if asked.slot is not None:
            carry_out(asked.slot)
            going = wait(0)
            continue
        if asked.following != told:
            told = asked.following
            log("info", "waiting for the next slot", slot="none within five years" if told is None else _text(told))
        left = _LONGEST_WAIT if told is None else (told - moment).total_seconds()
        going = wait(max(0.0, min(left, _LONGEST_WAIT)))


class PolicyFile:
    """The policy of a file, which is read again whenever the file is another."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._timetable: Timetable | None = None
        self._trouble = ""
        """Why it could not be read at the last look."""

    def timetable(self) -> Timetable | None:
        """As `Policy`."""
        seen = self._signature()
        if seen != self._seen:
            self._seen = seen
            self._timetable = self._read()
        return self._timetable

    def _signature(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._path)
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _read(self) -> Timetable | None:
        try:
            loaded = policy_file.load(policy_file.Source(self._path), "CleanupPolicy", None)
        except (policy_file.UnreadableFile, OSError) as error:
            # It says nothing about the policy, so the next look is one at a file that nobody has seen.
            self._seen = None
            if str(error) != self._trouble:
                self._trouble = str(error)
                log("error", f"the policy could not be read, and nothing runs until it can be: {error}")
            return None
        except policy_file.InvalidFile as error:
            log("error", "the policy makes no sense, and nothing runs until it is changed", problems=error.problems)
            return None
        self._trouble = ""
        log("info", "policy read", policy=loaded.task.policy, schedule=loaded.schedule, suspend=loaded.suspend)
        return Timetable(loaded.schedule, loaded.task.time_zone, loaded.starting_deadline, loaded.suspend)


class Runs:
    """Runs as processes, and the signals that end them and the daemon. Signals are blocked and waited for."""

    def __init__(self, command: list[str], state: str) -> None:
        self._command = command
        self._state = state
        self._stopped = False

    def wait(self, seconds: float) -> bool:
        """Whether so many seconds went by without a signal to stop."""
        if not self._stopped:
            self._stopped = signal.sigtimedwait(_SIGNALS, seconds) is not None
        return not self._stopped

    def carry_out(self, slot: dt.datetime) -> None:
        """One run, until it ends; told to stop, it has ten seconds. Where it cannot be started the log says so."""
        log("info", "run begins", slot=_text(slot))
        try:
            last_run.write(self._state, {"slot": _text(slot)})
        except (OSError, CouldNotRun) as error:
            log("warning", f"the slot could not be remembered for the next start: {error}", state=self._state)
        try:
            # The result goes to memory: runs are wanted most where no disk has room for it.
            with open(os.memfd_create("result"), "r+b") as output:
                child = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=output)  # noqa: S603 - ourselves
                self._wait_for(child)
                output.seek(0)
                text = output.read()
        except OSError as error:
            # Memory, processes or descriptors are short, and may not be at the next slot.
            log("error", f"the run could not be started, and nothing makes up for it: {error}", slot=_text(slot))
            return
        _tell(child.returncode, text)

    def _wait_for(self, child: subprocess.Popen[bytes]) -> None:
        limit = None
        while child.poll() is None:
            left = 3600.0 if limit is None else limit - time.monotonic()
            if left <= 0:
                child.kill()
                child.wait()
                break
            met = signal.sigtimedwait({*_SIGNALS, signal.SIGCHLD}, left)
            if met is not None and met.si_signo in _SIGNALS and limit is None:
                self._stopped = True
                limit = time.monotonic() + _GRACE
                child.terminate()


def _tell(code: int, text: bytes) -> None:
    try:
        result = json.loads(text)
    except ValueError:
        result = None
    told = result.get("message") if isinstance(result, dict) else "it left no result"
    log("info" if code == 0 else "error", f"run ended: {told}", exitCode=code, result=result)


def run(path: str, root: str, state: str | None, arguments: list[str]) -> None:
    """Serve the policy in `path` until SIGTERM or SIGINT. `arguments`: those of one run. Raises `CouldNotRun`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_SIGNALS, signal.SIGCHLD})
    # Another daemon at this root goes by another policy's slots.
    place = last_run.place(root, state, policy=path)
    now = _now()
    since = min(now, _remembered(last_run.read(place).get("slot")) or now)
    command = [sys.executable, "-P", "-c", "from housekeeper_worker.cli import main; main()", *arguments]
    runs = Runs(command, place)
    log("info", "daemon begins", root=root, since=_text(since))
    serve(PolicyFile(path), runs.carry_out, since=since, now=_now, wait=runs.wait)
    log("info", "daemon ends")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _remembered(text: object) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        return None

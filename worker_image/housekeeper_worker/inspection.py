"""Commands that only look: `verify-audit` and `status`."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import re
import sys
from typing import Any, Final

from housekeeper_api.next_slot import next_time
from housekeeper_api.result import Outcome
from housekeeper_api.schedules import load_time_zone
from housekeeper_api.task import TaskError
from housekeeper_worker import cli_output, last_run, report
from housekeeper_worker.audit.verify import Verdict, verify
from housekeeper_worker.ending import Ended, finish
from housekeeper_worker.errors import CouldNotRun

_HEAD: Final = re.compile(r"[0-9a-f]{64}\Z")
_OUTCOMES: Final[dict[str, Outcome]] = {"Whole": "Succeeded", "Unfinished": "PartiallySucceeded", "Broken": "Failed"}


def verify_audit(path: str, *, head: str | None, as_json: bool) -> None:
    """Print whether an audit (`-`: standard input) is what was written. Ends the process."""

    def act() -> Ended:
        if head is not None and not _HEAD.match(head):
            raise TaskError("--head: write the 64 hexadecimal digits of `audit.head` in a result")
        try:
            with open(path, "rb") if path != "-" else contextlib.nullcontext(sys.stdin.buffer) as file:
                verdict = verify(file, head)
        except OSError as error:
            raise CouldNotRun(f"{path} cannot be read: {error.strerror}") from error
        cli_output.print_facts(_facts(verdict), f"{verdict.state}: {verdict.message}", as_json=as_json)
        return Ended(report.failure(_OUTCOMES[verdict.state], verdict.message, mode="", seconds=0))

    finish(act, as_json=as_json)


def _facts(verdict: Verdict) -> dict[str, Any]:
    members = dataclasses.asdict(verdict)
    members["afterHead"] = members.pop("after_head")
    return members


def status(root: str | None, state: str | None, *, as_json: bool) -> None:
    """Print how the last run on `root`, or of the file `state`, ended, and when the next is due. Ends the process."""

    def act() -> Ended:
        if (root is None) == (state is None):
            raise TaskError("write either --root DIR or --state FILE")
        place = last_run.place(root or "", state)
        remembered = last_run.read(place)
        told = remembered.get("lastRun")
        if not isinstance(told, dict):
            raise CouldNotRun(f"no run is remembered in {place}")
        following = _following(told)
        facts = told | ({"nextRunTime": following} if following else {})
        cli_output.print_facts(facts, f"{told.get('outcome')}: {told.get('message')}", as_json=as_json)
        return Ended(report.failure("Succeeded", "told", mode="", seconds=0))

    finish(act, as_json=as_json)


def _following(told: dict[str, Any]) -> str | None:
    """The next slot of the schedule that the last run had; whether somebody keeps it is another question."""
    try:
        zone = load_time_zone(str(told.get("timeZone")))
        slot = next_time(str(told["schedule"]), zone, dt.datetime.now(dt.UTC))
    except (KeyError, ValueError):
        return None
    return None if slot is None else slot.strftime("%Y-%m-%dT%H:%M:%SZ")

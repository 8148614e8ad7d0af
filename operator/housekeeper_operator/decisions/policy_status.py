"""The conditions of a policy or check, from its specification and its runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from housekeeper_api.conditions import GOOD_STATES, ConditionType, ReadyReason, RunState
from housekeeper_operator.decisions import conditions
from housekeeper_operator.decisions.views import Object, RunView


def ready(problem: tuple[str, str] | None, *, suspended: bool, schedule: str, generation: int) -> Object:
    """`Ready`. `problem` is (reason, message) when it cannot be scheduled."""
    if problem is not None:
        return conditions.make(
            ConditionType.READY, status=False, reason=problem[0], message=problem[1], generation=generation
        )
    if suspended:
        message = "Suspended (spec.suspend): the schedule does not fire. A MaintenanceRun made by hand still runs."
        return conditions.make(
            ConditionType.READY, status=True, reason=ReadyReason.SUSPENDED, message=message, generation=generation
        )
    return conditions.make(
        ConditionType.READY,
        status=True,
        reason=ReadyReason.SCHEDULED,
        message=f"Runs by the schedule {schedule}.",
        generation=generation,
    )


def running(runs: Iterable[RunView], generation: int) -> Object:
    """`Running`: whether a run is admitted and has not ended."""
    active = sorted(run.name for run in runs if run.active)
    if active:
        return conditions.make(
            ConditionType.RUNNING,
            status=True,
            reason="RunActive",
            message=f"Run {active[0]} is under way.",
            generation=generation,
        )
    return conditions.make(
        ConditionType.RUNNING, status=False, reason="Idle", message="No run is under way.", generation=generation
    )


def held(runs: Iterable[RunView], generation: int) -> Object:
    """`Held`: whether a plan waits for approval."""
    waiting = sorted((run for run in runs if run.state is RunState.HELD), key=lambda run: (run.created, run.name))
    if waiting:
        return conditions.make(
            ConditionType.HELD,
            status=True,
            reason="PlanHeld",
            message=f"Run {waiting[-1].name}: {waiting[-1].message}",
            generation=generation,
        )
    return conditions.make(
        ConditionType.HELD, status=False, reason="NothingHeld", message="No plan is held.", generation=generation
    )


def degraded(status: dict[str, Any], generation: int) -> Object:
    """`Degraded`: whether the last run that ended failed."""
    last = status.get("lastRun")
    if last is None:
        return conditions.make(
            ConditionType.DEGRADED,
            status=False,
            reason="NoRunYet",
            message="No run has ended yet.",
            generation=generation,
        )
    if last["result"] in {*map(str, GOOD_STATES), str(RunState.CANCELLED)} and last["result"] != str(
        RunState.PARTIALLY_SUCCEEDED
    ):
        return conditions.make(
            ConditionType.DEGRADED,
            status=False,
            reason=f"LastRun{last['result']}",
            message=f"Run {last['name']} ended {last['result']}.",
            generation=generation,
        )
    return conditions.make(
        ConditionType.DEGRADED,
        status=True,
        reason=f"LastRun{last['result']}",
        message=f"Run {last['name']}: {last['message']}",
        generation=generation,
    )

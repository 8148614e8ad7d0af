"""One step of a run's life, from builders to what is not at rest in the decision."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

from housekeeper_operator.decisions.lifecycle import decide
from housekeeper_operator.decisions.step import Decision, PolicyView
from tests.unit.operator.builders import NOW, JobBuilder, PodBuilder, RunBuilder, policy


def step(
    of: RunBuilder,
    *,
    policy: PolicyView | None = policy(),  # noqa: B008 a frozen value
    job: JobBuilder | None = None,
    pods: tuple[PodBuilder, ...] = (),
    events: str = "",
    now: datetime = NOW,
) -> Decision:
    return decide(of.view(), policy, job.view() if job else None, [one.view() for one in pods], events, now)


def changes(decision: Decision) -> dict[str, Any]:
    """The members that are not at rest, but for the sentence."""
    fields = dataclasses.fields(Decision)
    return {
        field.name: value
        for field in fields
        if field.name != "message" and (value := getattr(decision, field.name)) != field.default
    }

"""Which waiting runs may start now, and why the others may not: first come, first served, within limits.

A run that a narrow limit holds back (its volume or its policy is busy) lets later ones pass; the global limit does not,
because there the first in line has the next free place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A run that waits, or one that is active."""

    run: str
    namespace: str
    created: datetime
    policy: tuple[str, str, str]
    """(kind, namespace, name)."""
    volume: tuple[str, str] | None
    """(namespace, claim) that it works on alone; None when it shares."""
    holds_place: bool = True
    """Whether it takes one of the places of the installation. Not when its pod is lost with its node: nobody can tell
    whether that still writes, so its volume stays taken, but one lost node must not stop everything else."""


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one waiting run starts now."""

    entry: Entry
    admitted: bool
    reason: str = ""
    message: str = ""


def admit(waiting: Iterable[Entry], active: Iterable[Entry], *, limit: int) -> list[Verdict]:
    """A verdict for each waiting run, in queue order: oldest first, ties by namespace and name.

    `limit` is the number of runs that may be active at once in the whole installation.
    """
    policies = {}
    volumes = {}
    places = limit
    for entry in active:
        policies[entry.policy] = entry
        if entry.volume is not None:
            volumes[entry.volume] = entry
        places -= entry.holds_place
    verdicts = []
    for entry in sorted(waiting, key=lambda item: (item.created, item.namespace, item.run)):
        if (other := policies.get(entry.policy)) is not None:
            verdict = Verdict(entry, False, "PolicyBusy", f"Waits for run {other.run} of the same policy.")
        elif entry.volume is not None and (other := volumes.get(entry.volume)) is not None:
            verdict = Verdict(
                entry, False, "VolumeBusy", f"Waits for run {other.run}, which works on claim {entry.volume[1]}."
            )
        elif places <= 0:
            verdict = Verdict(
                entry,
                False,
                "GlobalLimit",
                f"All {limit} places are taken (maxConcurrentRuns of the operator); it starts in its turn.",
            )
        else:
            verdict = Verdict(entry, True)
            places -= 1
            policies[entry.policy] = entry
            if entry.volume is not None:
                volumes[entry.volume] = entry
        verdicts.append(verdict)
    return verdicts

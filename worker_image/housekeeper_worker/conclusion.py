"""What becomes of the items of a rule once all of them are known: into the plan, the tally and whoever listens."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from itertools import compress
from operator import not_
from typing import Final

from housekeeper_worker.retention.candidates import Candidates, Group, cause_of
from housekeeper_worker.retention.decide import Decided, Verdict
from housekeeper_worker.retention.keep import CAPPED
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally

_LOOKED_AT: Final = 20
"""Items at either end of a group among which examples are looked for."""


def conclude(
    candidates: Candidates, plan: Plan, tally: Tally, stop: Stop, on_decision: Callable[[Decided], None] | None
) -> None:
    """Decide about all items of `candidates`, which is empty afterwards."""
    all_listed = not tally.error_count
    going = bytearray(len(candidates.files))
    causes = array("I", bytes(4 * len(candidates.files)))
    places: dict[int, tuple[Group, int]] = {}
    for group in candidates.groups():
        if stop.reason is not None:
            return
        gone = _mark(candidates, group, plan, going, causes, all_listed=all_listed)
        _count(candidates, group, tally, going, gone, all_listed=all_listed)
        _add_samples(candidates, group, tally, all_listed=all_listed)
        if on_decision is not None:
            places.update((index, (group, place)) for place, index in enumerate(group.order))
    if on_decision is not None:
        for index, path in enumerate(candidates.files.paths()):
            group, place = places[index]
            on_decision(candidates.decided(group, place, path, all_listed=all_listed))
    candidates.move_to(plan, causes, going)


def _mark(
    candidates: Candidates, group: Group, plan: Plan, going: bytearray, causes: array[int], *, all_listed: bool
) -> int:
    """Mark what goes of a group, each with its cause: whether something would have kept it, but for the size.

    Returns how many go.
    """
    places = candidates.going(group, all_listed=all_listed)
    masks = None if group.kept is None else group.kept.masks
    capped = [] if masks is None or CAPPED not in masks else [masks[place] == CAPPED for place in places]
    each = [places]
    if capped:
        each = [array("I", compress(places, marks)) for marks in (capped, map(not_, capped))]
    for alike in each:
        if not alike:
            continue
        number = plan.add_cause(cause_of(candidates, group, alike[0]))
        for index in map(group.order.__getitem__, alike):
            going[index] = 1
            causes[index] = number
    return len(places)


def _count(
    candidates: Candidates, group: Group, tally: Tally, going: bytearray, gone: int, *, all_listed: bool
) -> None:
    """Count verdicts. Those that are kept are most of them or few; the rest is looked at only where it stays."""
    kept = 0 if group.kept is None else len(group.order) - group.kept.masks.count(0) - group.kept.masks.count(CAPPED)
    tally.verdicts[Verdict.KEPT] += kept
    tally.verdicts[Verdict.REMOVE] += gone
    if kept + gone < len(group.order):
        for place, index in enumerate(group.order):
            if not going[index] and (group.kept is None or not group.kept.keeps(place)):
                tally.verdicts[candidates.judge(group, place, all_listed=all_listed)] += 1


def _add_samples(candidates: Candidates, group: Group, tally: Tally, *, all_listed: bool) -> None:
    for place in _ends(len(group.order)):
        if tally.has_sample_enough:
            return
        verdict = candidates.judge(group, place, all_listed=all_listed)
        if tally.wants_sample(verdict):
            path = candidates.files.path(group.order[place])
            tally.add_sample(path, verdict, ", ".join(candidates.reasons(group, place, verdict)))


def _ends(count: int) -> Iterator[int]:
    yield from range(count - 1, max(count - 1 - _LOOKED_AT, -1), -1)
    yield from range(min(_LOOKED_AT, max(count - _LOOKED_AT, 0)))

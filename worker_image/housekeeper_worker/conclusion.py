"""What becomes of the items of a rule once all of them are known: into the plan, the tally and whoever listens."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from itertools import compress, repeat
from operator import and_, gt
from typing import Final

from housekeeper_worker.retention.candidates import Candidates, Group, cause_of
from housekeeper_worker.retention.decide import Decided, Verdict
from housekeeper_worker.retention.keep import CAPPED
from housekeeper_worker.retention.plan import STAYS, Plan
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally

_LOOKED_AT: Final = 20
"""Items at either end of a group among which examples are looked for."""


def conclude(
    candidates: Candidates, plan: Plan, tally: Tally, stop: Stop, on_decision: Callable[[Decided], None] | None
) -> None:
    """Decide about all items of `candidates`, which is empty afterwards."""
    all_listed = not tally.error_count
    causes = array("I")
    places: dict[int, tuple[Group, int]] = {}
    for group in candidates.groups():
        if stop.reason is not None:
            return
        # Made when the first group is in order, which takes more memory than all that follows.
        causes = causes or array("I", [STAYS]) * len(candidates.files)
        gone = _mark(candidates, group, plan, causes, all_listed=all_listed)
        _count(candidates, group, tally, causes, gone, all_listed=all_listed)
        _add_samples(candidates, group, tally, all_listed=all_listed)
        if on_decision is not None:
            places.update((index, (group, place)) for place, index in enumerate(group.order))
    if on_decision is not None:
        for index, path in enumerate(candidates.files.paths()):
            group, place = places[index]
            on_decision(candidates.decided(group, place, path, all_listed=all_listed))
    candidates.move_to(plan, causes)


def _mark(candidates: Candidates, group: Group, plan: Plan, causes: array[int], *, all_listed: bool) -> int:
    """Give what goes of a group its cause: whether something would have kept it, but for the size.

    Returns how many go.
    """
    marks = candidates.going(group, all_listed=all_listed)
    each = [marks]
    if group.kept is not None and CAPPED in group.kept.masks:
        capped = bytes(map(CAPPED.__eq__, group.kept.masks))
        each = [bytes(map(and_, marks, capped)), bytes(map(gt, marks, capped))]
    for alike in each:
        first = alike.find(1)
        if first >= 0:
            number = plan.add_cause(cause_of(candidates, group, first))
            indices = compress(group.order, alike)
            deque(map(causes.__setitem__, indices, repeat(number)), maxlen=0)  # a loop, and no code of Python in it
    return marks.count(1)


def _count(
    candidates: Candidates, group: Group, tally: Tally, causes: array[int], gone: int, *, all_listed: bool
) -> None:
    """Count verdicts. Those that are kept are most of them or few; the rest is looked at only where it stays."""
    kept = 0 if group.kept is None else len(group.order) - group.kept.masks.count(0) - group.kept.masks.count(CAPPED)
    tally.verdicts[Verdict.KEPT] += kept
    tally.verdicts[Verdict.REMOVE] += gone
    if kept + gone < len(group.order):
        for place, index in enumerate(group.order):
            if causes[index] == STAYS and (group.kept is None or not group.kept.keeps(place)):
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

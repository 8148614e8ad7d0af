"""Brakes: limits on the whole plan, looked at before the first removal."""

from __future__ import annotations

from collections.abc import Iterable

from housekeeper_api.task import Brakes
from housekeeper_worker.retention.candidates import Candidates


def tripped(brakes: Brakes, *, planned: int, selected: int) -> str | None:
    """Why the plan must not be carried out, as a sentence; None if it may. Each limit trips strictly above.

    `planned` of the `selected` files would be removed.
    """
    if planned * 100 > brakes.max_percent * selected:
        return (
            f"the plan would remove {planned} of {selected} selected files "
            f"({percent(planned, selected)} %), more than brakes.maxPercent {brakes.max_percent} allows; "
            "if that is right, raise spec.brakes.maxPercent"
        )
    return None


def emptying(rules: Iterable[tuple[str, Candidates]]) -> str | None:
    """Why a plan that leaves nothing of a group must not be carried out; None if it may.

    `rules` are those that know their groups, each with its name. A rule with a `keep` never means that.
    """
    for name, candidates in rules:
        if candidates.emptied:
            more = f" and {candidates.emptied - 1} more" if candidates.emptied > 1 else ""
            group = f" ({candidates.first_emptied}{more})" if candidates.first_emptied else ""
            return (
                f"the plan would leave nothing of {'a group' if group else 'what'} rule {name}{group} keeps, though it "
                "has a keep; if that is right, remove keep, else let keep.atLeast be 1 or more"
            )
    return None


def percent(part: int, whole: int) -> str:
    """`part` of `whole` in percent with one decimal, rounded up, so that it never looks like less than it is."""
    tenths = -(-part * 1000 // whole) if whole else 0
    return f"{tenths // 10}.{tenths % 10}"

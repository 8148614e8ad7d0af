"""Brakes: limits on the whole plan, looked at before the first removal."""

from __future__ import annotations

from housekeeper_api.task import Brakes


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


def percent(part: int, whole: int) -> str:
    """`part` of `whole` in percent with one decimal, rounded up, so that it never looks like less than it is."""
    tenths = -(-part * 1000 // whole) if whole else 0
    return f"{tenths // 10}.{tenths % 10}"

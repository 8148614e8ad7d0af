"""Pressure and approval together: what a person approved is carried out, and never more than pressure asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.worker.pressing import NEWEST_LAST
from tests.unit.worker.test_pressure import counted, left_after, played


def test_a_plan_of_pressure_that_a_brake_held_is_carried_out_as_it_was_approved(open_volume: Path, uid: int) -> None:
    told = played("held_and_approved", open_volume, uid)
    held = counted(told["held"])
    assert (told["held"]["result"]["outcome"], held["removed"], held["planned"]) == ("Held", 0, 8)
    assert "8 files are more than brakes.maxItems 3" in told["held"]["result"]["message"]
    done = counted(told["approved"])
    assert told["approved"]["result"]["outcome"] == "Succeeded", told["approved"]["result"]
    assert (done["removed"], told["left"], told["plans"]) == (8, left_after(8), 0)
    assert done["planDigest"] == held["planDigest"]
    assert "was 90.0 % full and is 50.0 % full" in told["approved"]["result"]["message"]


@pytest.mark.parametrize(
    ("meanwhile", "gone", "more"),
    [("older files come", NEWEST_LAST[:8], 3), ("one is replaced", [*NEWEST_LAST[:2], *NEWEST_LAST[3:8]], 2)],
)
def test_what_nobody_approved_stays_however_full_the_volume_is(
    open_volume: Path, uid: int, meanwhile: str, gone: list[str], more: int
) -> None:
    """More would have to go by now to reach low: the plan that held itself takes some room."""
    told = played("held_and_approved", open_volume, uid, meanwhile)
    result = told["approved"]["result"]
    done = counted(told["approved"])
    new = {"a/older-0", "a/older-1"} if meanwhile == "older files come" else set()
    assert (result["outcome"], done["removed"], done["skipped"]["notApproved"]) == ("Succeeded", len(gone), more)
    assert set(told["left"]) == {*NEWEST_LAST, *new} - set(gone)
    assert result["message"].endswith(f"; {more} more that would go today are not approved"), result["message"]
    assert result["durationSeconds"] < 2, "waited for room that nobody had made"


def test_what_was_approved_stays_once_the_volume_is_not_full_any_more(open_volume: Path, uid: int) -> None:
    told = played("held_and_approved", open_volume, uid, "somebody makes room")
    done = counted(told["approved"])
    assert (done["removed"], done["skipped"], told["left"]) == (0, {"spared": 14}, sorted(NEWEST_LAST[:14]))
    assert done["notes"] == ["of 8 approved files 8 stay: they are gone, have changed, or are kept by now"]
    assert "not above pressure.highPercent 80" in told["approved"]["result"]["message"]


def test_an_approved_plan_too_is_measured_as_it_goes(open_volume: Path, uid: int) -> None:
    told = played("approved_while_others_make_room", open_volume, uid)
    assert [name for name in told["left"] if name != "filler"] == left_after(1)
    assert (counted(told)["removed"], told["result"]["outcome"]) == (1, "Succeeded")
    assert "is 42.5 % full" in told["result"]["message"]

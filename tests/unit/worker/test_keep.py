"""What each keep rule keeps: golden tables, and the worked examples of the documents."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from housekeeper_api.cleanup_policy import CleanupPolicy
from housekeeper_api.fields.retention import Keep as KeepModel
from housekeeper_api.resolve import cleanup_task
from housekeeper_api.task import Keep
from housekeeper_worker.retention.keep import CAPPED, keeping, removal_reasons
from tests.data.manifests import table
from tests.unit.worker.keeping import SECOND, group, ns


def kept(times: Sequence[str], keep: Keep, zone_name: str = "Etc/UTC") -> list[str]:
    """The times that are kept, newest first."""
    moments = sorted((ns(time, zone_name), time) for time in times)
    decided = group([moment for moment, _ in moments], keep, zone_name)
    return [time for place, (_, time) in reversed(list(enumerate(moments))) if decided.keeps(place)]


NOONS = [f"2026-{month:02}-{day:02}T12:00" for month in (9, 10, 11) for day in range(1, 31)]
"""90 days in a row, but for one 31st."""


@pytest.mark.parametrize(
    ("times", "keep", "left"),
    [
        pytest.param(NOONS, Keep(last=3), ["2026-11-30T12:00", "2026-11-29T12:00", "2026-11-28T12:00"], id="last"),
        pytest.param(NOONS[:2], Keep(last=3), ["2026-09-02T12:00", "2026-09-01T12:00"], id="fewer than last"),
        pytest.param(NOONS, Keep(daily=2), ["2026-11-30T12:00", "2026-11-29T12:00"], id="daily"),
        pytest.param(
            ["2026-11-22T01:00", "2026-11-22T23:00", "2026-11-21T00:00", "2026-11-21T23:59", "2026-11-19T05:00"],
            Keep(daily=2),
            ["2026-11-22T23:00", "2026-11-21T23:59"],
            id="the newest of each day",
        ),
        pytest.param(
            ["2026-11-22T01:00", "2026-11-22T23:00"],
            Keep(daily=7),
            ["2026-11-22T23:00", "2026-11-22T01:00"],
            id="buckets left over keep the oldest too",
        ),
        pytest.param(
            ["2026-11-20T01:00", "2026-11-20T05:00", "2026-11-22T01:00", "2026-11-22T23:00"],
            Keep(daily=7),
            ["2026-11-22T23:00", "2026-11-20T05:00", "2026-11-20T01:00"],
            id="days without items do not count",
        ),
        pytest.param(
            ["2026-11-22T10:00", "2026-11-22T10:59", "2026-11-22T11:00", "2026-11-22T13:30"],
            Keep(hourly=3),
            ["2026-11-22T13:30", "2026-11-22T11:00", "2026-11-22T10:59"],
            id="hourly",
        ),
        pytest.param(NOONS, Keep(weekly=3), ["2026-11-30T12:00", "2026-11-29T12:00", "2026-11-22T12:00"], id="weekly"),
        pytest.param(
            NOONS,
            Keep(monthly=5),
            ["2026-11-30T12:00", "2026-10-30T12:00", "2026-09-30T12:00", "2026-09-01T12:00"],
            id="monthly and the oldest",
        ),
        pytest.param(
            # 31 December 2024 is in week 1 of 2025; 1 to 3 January 2027 are in week 53 of 2026.
            ["2024-12-29T12:00", "2024-12-31T12:00", "2025-01-03T12:00", "2026-12-30T12:00", "2027-01-03T12:00"],
            Keep(weekly=2),
            ["2027-01-03T12:00", "2025-01-03T12:00"],
            id="ISO weeks around New Year",
        ),
        pytest.param(
            ["2024-02-28T12:00", "2024-02-29T12:00", "2024-03-01T12:00"],
            Keep(monthly=2),
            ["2024-03-01T12:00", "2024-02-29T12:00"],
            id="a leap day ends February",
        ),
        pytest.param(
            ["2024-02-29T12:00", "2025-12-31T23:59", "2026-01-01T00:00"],
            Keep(yearly=2),
            ["2026-01-01T00:00", "2025-12-31T23:59"],
            id="yearly",
        ),
        pytest.param(
            NOONS,
            Keep(within="3d"),
            ["2026-11-30T12:00", "2026-11-29T12:00", "2026-11-28T12:00"],
            id="within, strictly",
        ),
        pytest.param(
            ["2023-02-28T12:00", "2023-03-01T11:00", "2023-03-01T12:00", "2023-03-01T12:01", "2024-02-29T12:00"],
            Keep(within="1y"),
            ["2024-02-29T12:00", "2023-03-01T12:01"],
            id="a year before a leap day is 1 March",
        ),
        pytest.param(
            ["2026-03-02T12:00", "2026-03-03T12:00", "2026-03-03T12:01", "2026-03-31T12:00"],
            Keep(within="1mo"),
            ["2026-03-31T12:00", "2026-03-03T12:01"],
            id="a month before the 31st rolls over",
        ),
        pytest.param(
            ["2026-11-20T01:00", "2026-11-20T05:00", "2026-11-21T05:00", "2026-11-22T01:00", "2026-11-22T05:00"],
            Keep(within_daily="2d"),
            ["2026-11-22T05:00", "2026-11-21T05:00"],
            id="daily within, the oldest is not within",
        ),
        pytest.param(
            ["2026-11-20T06:00", "2026-11-20T07:00", "2026-11-22T05:00"],
            Keep(within_daily="2d"),
            ["2026-11-22T05:00", "2026-11-20T07:00", "2026-11-20T06:00"],
            id="daily within, the oldest is within",
        ),
        pytest.param(
            NOONS,
            Keep(within_monthly="1y", within_weekly="2w", within_hourly="36h"),
            [
                "2026-11-30T12:00",
                "2026-11-29T12:00",
                "2026-11-22T12:00",
                "2026-10-30T12:00",
                "2026-09-30T12:00",
                "2026-09-01T12:00",
            ],
            id="several within",
        ),
        pytest.param(
            NOONS,
            Keep(last=1, daily=2, weekly=2, monthly=2),
            ["2026-11-30T12:00", "2026-11-29T12:00", "2026-10-30T12:00"],
            id="rules are OR-ed",
        ),
        pytest.param(NOONS, Keep(last=-1), NOONS[::-1], id="all"),
        pytest.param(
            ["2026-11-21T01:00", "2026-11-21T02:00", "2026-11-22T01:00"],
            Keep(daily=-1),
            ["2026-11-22T01:00", "2026-11-21T02:00", "2026-11-21T01:00"],
            id="all days, and the oldest",
        ),
        pytest.param(NOONS[:3], Keep(max_total_size=1, at_least=0), ["2026-09-03T12:00"], id="size"),
        pytest.param(
            NOONS[:3], Keep(max_total_size=0, at_least=2), ["2026-09-03T12:00", "2026-09-02T12:00"], id="floor"
        ),
        pytest.param(NOONS[:3], Keep(max_total_size=0, at_least=0), [], id="nothing"),
        pytest.param(NOONS[:3], Keep(at_least=2), ["2026-09-03T12:00", "2026-09-02T12:00"], id="the floor alone"),
    ],
)
def test_what_is_kept(times: list[str], keep: Keep, left: list[str]) -> None:
    assert kept(times, keep) == left


@pytest.mark.parametrize(
    ("zone_name", "times", "keep", "left"),
    [
        # Berlin: 29 March 2026 has 23 hours, 25 October 2026 has 25.
        pytest.param(
            "Europe/Berlin",
            ["2026-03-28T23:30", "2026-03-29T00:30", "2026-03-29T03:30", "2026-03-29T23:30", "2026-03-30T00:30"],
            Keep(daily=3),
            ["2026-03-30T00:30", "2026-03-29T23:30", "2026-03-28T23:30"],
            id="the clock goes forward",
        ),
        pytest.param(
            "Europe/Berlin",
            [
                "2026-10-24T23:30",
                "2026-10-25T00:30",
                "2026-10-25T02:30+02:00",
                "2026-10-25T02:30+01:00",
                "2026-10-25T23:30",
                "2026-10-26T00:30",
            ],
            Keep(daily=3),
            ["2026-10-26T00:30", "2026-10-25T23:30", "2026-10-24T23:30"],
            id="the clock goes back",
        ),
        pytest.param(
            "Europe/Berlin",
            ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"],
            Keep(hourly=2),
            ["2026-10-25T02:30+01:00", "2026-10-25T02:30+02:00"],
            id="the hour that comes twice is two hours",
        ),
        pytest.param(
            "Asia/Kolkata",
            ["2026-11-22T10:10", "2026-11-22T10:40"],
            Keep(hourly=1),
            ["2026-11-22T10:40"],
            id="hours are those of UTC",
        ),
        pytest.param(
            "Asia/Kolkata",
            ["2026-11-22T10:40", "2026-11-22T11:20", "2026-11-22T11:35"],
            Keep(hourly=1),
            ["2026-11-22T11:35"],
            id="hours of UTC begin at half past here",
        ),
        pytest.param(
            "America/Sao_Paulo",  # midnight of 4 November 2018 was left out
            ["2018-11-03T23:59", "2018-11-04T01:00", "2018-11-04T12:00", "2018-11-05T00:00"],
            Keep(daily=3),
            ["2018-11-05T00:00", "2018-11-04T12:00", "2018-11-03T23:59"],
            id="a day without midnight",
        ),
        pytest.param(
            "America/Sao_Paulo",  # at the end of 17 February 2018 the clock was put back to 23:00
            ["2018-02-17T22:30", "2018-02-17T23:30-02:00", "2018-02-17T23:30-03:00", "2018-02-18T00:10"],
            Keep(daily=2),
            ["2018-02-18T00:10", "2018-02-17T23:30-03:00"],
            id="a day with 25 hours that ends twice",
        ),
        pytest.param(
            "America/St_Johns",  # at 00:01 of 4 November 2007 it was 23:01 of the 3rd again
            ["2007-11-03T22:00", "2007-11-04T00:00:30-02:30", "2007-11-03T23:30-03:30", "2007-11-04T12:00"],
            Keep(daily=4),
            ["2007-11-04T12:00", "2007-11-03T23:30-03:30", "2007-11-04T00:00:30-02:30", "2007-11-03T22:00"],
            id="two days that take turns",
        ),
        pytest.param(
            "Pacific/Apia",  # 30 December 2011 did not happen
            ["2011-12-29T12:00", "2011-12-31T12:00"],
            Keep(daily=1),
            ["2011-12-31T12:00"],
            id="a day that is not there",
        ),
        pytest.param(
            "America/New_York",
            ["2026-02-28T23:30", "2026-03-01T00:30", "2026-03-31T23:30", "2026-04-01T00:30"],
            Keep(monthly=3),
            ["2026-04-01T00:30", "2026-03-31T23:30", "2026-02-28T23:30"],
            id="months begin at midnight here",
        ),
    ],
)
def test_the_calendar_is_that_of_the_zone(zone_name: str, times: list[str], keep: Keep, left: list[str]) -> None:
    assert kept(times, keep, zone_name) == left


def test_reasons_say_which_one_it_is_and_of_how_many() -> None:
    times = [ns(time) for time in ("2026-10-01T10:00", "2026-11-21T10:00", "2026-11-22T09:00", "2026-11-22T10:00")]
    decided = group(
        times, Keep(last=1, hourly=1, daily=2, weekly=5, monthly=-1, yearly=1, within="2h", within_daily="5d")
    )
    assert [decided.reasons(place) for place in (3, 2, 1, 0)] == [
        [
            "last 1/1",
            "hourly 1/1",
            "daily 1/2",
            "weekly 1/5",
            "monthly 1/all",
            "yearly 1/1",
            "within 2h",
            "daily within 5d",
        ],
        ["within 2h"],
        ["daily 2/2", "daily within 5d"],
        ["weekly 2/5", "monthly 2/all"],
    ]


def test_reasons_of_the_oldest_the_floor_and_the_size() -> None:
    times = [ns(f"2026-11-22T{hour:02}:00") for hour in range(4)]
    assert group(times, Keep(daily=2)).reasons(0) == ["oldest daily 2/2"]
    assert group(times, Keep(within_daily="1d")).reasons(0) == ["oldest daily within 1d"]
    assert group(times, Keep(last=1, at_least=2)).reasons(2) == ["atLeast 2/2"]
    assert group(times, Keep(last=1, at_least=2)).reasons(3) == ["last 1/1"]
    sized = group(times, Keep(max_total_size=2048), sizes=[1024] * 4)
    assert [sized.reasons(place) for place in (3, 2, 1)] == [["within maxTotalSize 2.0 KiB"]] * 2 + [[]]
    assert sized.masks[0] == CAPPED


def test_a_removal_names_every_rule_that_does_not_keep_it() -> None:
    assert removal_reasons(Keep(last=10, daily=-1, within="2d", within_yearly="5y"), capped=False) == [
        "not among last 10",
        "not among daily all",
        "not within 2d of the newest",
        "not yearly within 5y",
    ]
    assert removal_reasons(Keep(last=10, max_total_size=1 << 30), capped=True) == ["beyond maxTotalSize 1.0 GiB"]
    assert removal_reasons(Keep(at_least=2), capped=False) == ["not among atLeast 2"]


def test_the_size_is_that_of_what_the_other_rules_keep() -> None:
    times = [ns(f"2026-11-{day:02}T{hour:02}:00") for day in (20, 21, 22) for hour in (1, 2)]
    decided = group(times, Keep(daily=3, max_total_size=20), sizes=[10] * 6)
    assert [decided.keeps(place) for place in range(6)] == [False, False, False, True, False, True]
    # What is larger than all that may be kept takes everything older with it, though the older would fit.
    decided = group(times, Keep(last=3, max_total_size=20), sizes=[1, 1, 1, 1, 100, 1])
    assert [decided.keeps(place) for place in range(6)] == [False, False, False, False, False, True]


DOCUMENT = Path(__file__).parents[3] / "docs/cleanup-policies.md"


def documented() -> list[tuple[str, str]]:
    """The worked examples: what stands in `keep`, and what stays."""
    return re.findall(r"^\| `(\{[^`]*\})` \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("written", "left"), documented())
def test_the_worked_examples_of_the_documents_are_right(written: str, left: str) -> None:
    policy = table.valid()["minimal-policy"]
    policy["spec"]["rules"][0]["keep"] = yaml.safe_load(written)
    task = cleanup_task(CleanupPolicy.from_object(policy), run="r", attempt=1, mode="DryRun")
    assert task.cleanup is not None
    keep = task.cleanup.rules[0].keep
    assert keep is not None
    times = [dt.datetime(2026, 1, 1, 3, tzinfo=dt.UTC) + number * dt.timedelta(hours=12) for number in range(652)]
    assert times[-1].isoformat() == "2026-11-22T15:00:00+00:00"
    decided = keeping([int(time.timestamp()) * SECOND for time in times], lambda _: 1 << 30, keep, dt.UTC)
    assert (
        ", ".join(
            f"{time.day} {time:%b %H:%M}" for place, time in reversed(list(enumerate(times))) if decided.keeps(place)
        )
        == left
    )


def test_every_keep_rule_has_a_worked_example() -> None:
    text = " ".join(written for written, _ in documented())
    for member in KeepModel.model_fields.values():
        assert f"{member.alias}:" in text

"""Schedules: what is accepted, and what `H` becomes."""

from __future__ import annotations

import collections
import datetime as dt
import itertools
import re
import zoneinfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.schedules import has_daylight_saving, load_time_zone, resolve, validate

UTC = "Etc/UTC"
BERLIN = "Europe/Berlin"

names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


def resolved(
    schedule: str, *, name: str = "logs", time_zone: str = UTC, field: str = "schedule", kind: str = "CleanupPolicy"
) -> str:
    return resolve(schedule, namespace="default", name=name, field=field, time_zone=time_zone, kind=kind)


@pytest.mark.parametrize(
    "schedule",
    [
        "* * * * *",
        "*/5 * * * *",
        "0,30 3-5 1-7/2 JAN,mar-Dec MON-FRI",
        "59 23 31 12 6",
        "0 0 29 2 *",
        "0 3 30 2 MON",  # every Monday in February, and the 30th that never comes
        "H H H H H",
        "H/5 * * * *",
        "H(0-29)/10 H(3-5) * * *",
        "0  3   *  * *",
        "05 03 01 01 00",
        "0 3 */2 * *",
        "0 3 * * */2",
        "0 3 1-31/2 * MON",
        "10/20 * * * *",
    ],
)
def test_a_schedule_of_five_fields_is_accepted(schedule: str) -> None:
    validate(schedule)


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        ("", "five fields"),
        ("* * * *", "this one has 4"),
        ("* * * * * *", "this one has 6"),
        ("@daily", "@daily is not supported"),
        ("@every 1h", "@every is not supported"),
        (" * * * * *", "five fields"),
        ("60 * * * *", "60 is not within 0 to 59"),
        ("* 24 * * *", "24 is not within 0 to 23"),
        ("* * 0 * *", "0 is not within 1 to 31"),
        ("* * * 13 *", "13 is not within 1 to 12"),
        ("* * * * 7", "Sunday is 0 or SUN"),
        ("* * * FOO *", "FOO is not a number or JAN to DEC"),
        ("JAN * * * *", "JAN is not a number"),
        ("* * L * *", "L and W are not supported"),
        ("* * * * 1#2", "L, W, # and ? are not supported"),
        ("? * * * *", "L, W, # and ? are not supported"),
        ("1,,2 * * * *", "write a number, a range"),
        ("1-2-3 * * * *", "write a number, a range"),
        ("5-1 * * * *", "ends before it begins"),
        ("* * * * SAT-SUN", "ends before it begins"),
        ("H(9-3) * * * *", "ends before it begins"),
        ("*/0 * * * *", "a step here is 1 to 60"),
        ("*/61 * * * *", "a step here is 1 to 60"),
        ("0-9/11 * * * *", "a step here is 1 to 10"),
        ("*,5 * * * *", "* stands alone"),
        ("0 0 */2 * 1", "write 1-31/2"),
        ("0 0 1 * */2", "write 0-6/2"),
        ("0 0 30 2 *", "would never run"),
        ("0 0 31 4,6,9,11 *", "would never run"),
        ("0 0 H(30-31) 2 *", "would never run"),
        ("0 0 H(28-31) 2 *", "would never run"),
        ("-1 * * * *", "write a number"),
        ("1.5 * * * *", "write a number"),
        ("\u0663 * * * *", "write a number"),
    ],
)
def test_anything_else_is_refused_with_what_to_write(schedule: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        validate(schedule)


def test_what_has_no_h_stays_as_it_is() -> None:
    assert resolved("0,30 3-5 1-7/2 JAN,mar MON-FRI") == "0,30 3-5 1-7/2 JAN,mar MON-FRI"


@pytest.mark.parametrize(
    ("schedule", "written_out"),
    [("10/20 * * * *", "10-59/20 * * * *"), ("0 0 * * WED/2", "0 0 * * 3-6/2"), ("0 0 5/10 * *", "0 0 5-31/10 * *")],
)
def test_a_start_with_a_step_is_written_out_because_programs_differ_about_its_end(
    schedule: str, written_out: str
) -> None:
    assert resolved(schedule) == written_out


def test_the_hash_never_changes() -> None:
    """These are in use in clusters: another value would move everybody's runs."""
    assert resolve("H H H H H", namespace="default", name="logs", time_zone=UTC) == "24 11 21 7 4"
    assert resolve("H H H H H", namespace="default", name="logs", time_zone=BERLIN) == "24 23 21 7 4"
    assert resolve("H/5 H/6 * * *", namespace="default", name="logs", time_zone=UTC) == "4-59/5 5-23/6 * * *"


@given(name=names)
def test_h_depends_on_names_alone(name: str) -> None:
    assert resolved("H H H H H", name=name) == resolved("H H H H H", name=name)


def test_kind_namespace_name_and_field_each_matter() -> None:
    found = {
        resolve("H H H H H", namespace=namespace, name=name, field=field, time_zone=UTC, kind=kind)
        for namespace, name, field, kind in itertools.product(
            ("a", "b"), ("c", "d"), ("schedule", "allowedWindows[0].schedule"), ("CleanupPolicy", "HealthCheck")
        )
    }
    assert len(found) == 16


@given(name=names)
def test_h_stays_within_each_field(name: str) -> None:
    minute, hour, day, month, weekday = (int(value) for value in resolved("H H H H H", name=name).split())
    assert 0 <= minute <= 59
    assert 0 <= hour <= 23
    assert 1 <= day <= 28, "every month has it"
    assert 1 <= month <= 12
    assert 0 <= weekday <= 6


@given(name=names, bounds=st.tuples(st.integers(0, 59), st.integers(0, 59)).map(sorted))
def test_h_stays_within_its_range(name: str, bounds: list[int]) -> None:
    low, high = bounds
    minute = int(resolved(f"H({low}-{high}) * * * *", name=name).split()[0])
    assert low <= minute <= high


@given(name=names, step=st.integers(1, 60))
def test_h_with_a_step_starts_within_the_first_step(name: str, step: int) -> None:
    minute = resolved(f"H/{step} * * * *", name=name).split()[0]
    start = int(minute.partition("-")[0])
    assert start < step
    fired = set(range(start, 60, step))
    assert minute == (f"{start}-59/{step}" if len(fired) > 1 else str(start))


def test_h_is_spread_over_the_range() -> None:
    """A thousand policies: no minute has more than three times its share, and none is left out."""
    minutes = collections.Counter(resolved("H * * * *", name=f"policy-{number}").split()[0] for number in range(1000))
    assert len(minutes) == 60
    assert max(minutes.values()) <= 3 * 1000 / 60


def test_the_fields_take_independent_bits() -> None:
    """Among the policies of one minute the hours are as spread as among all of them, and so for each pair of fields."""
    values = [tuple(map(int, resolved("H H H H H", name=f"policy-{number}").split())) for number in range(6000)]
    sizes = (60, 24, 28, 12, 7)
    for first, second in itertools.combinations(range(5), 2):
        pairs = collections.Counter((value[first], value[second]) for value in values)
        cells = sizes[first] * sizes[second]
        expected = len(values) / cells
        chi_square = sum(count**2 for count in pairs.values()) / expected - len(values)
        # About (cells - 1) ± sqrt(2 cells) if independent; equal bits would put it at thousands above.
        assert abs(chi_square - cells) < 6 * (2 * cells) ** 0.5, (first, second)


@given(name=names)
def test_h_avoids_the_hours_in_which_clocks_change(name: str) -> None:
    for schedule in ("0 H * * *", "0 H/4 * * *", "0 H/6 * * *", "0 H/12 * * *", "0 H(0-5) * * *", "0 H(1-23)/8 * * *"):
        field = resolved(schedule, name=name, time_zone=BERLIN).split()[1]
        low, _, rest = field.partition("-")
        high, _, step = rest.partition("/")
        hours = range(int(low), int(high or low) + 1, int(step or 1))
        assert not {0, 1, 2} & set(hours), (schedule, field)


def test_h_takes_all_hours_where_clocks_never_change() -> None:
    hours = {resolved("0 H * * *", name=f"policy-{number}").split()[1] for number in range(500)}
    assert hours == {str(hour) for hour in range(24)}


def test_a_range_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(ValueError, match=r"in Europe/Berlin H never picks the hours 0 to 2"):
        resolved("0 H(0-2) * * *", time_zone=BERLIN)
    assert resolved("0 H(0-2) * * *", time_zone=UTC).split()[1] in {"0", "1", "2"}


@pytest.mark.parametrize(
    ("time_zone", "changes"),
    [
        (UTC, False),
        ("UTC", False),
        ("Asia/Tokyo", False),
        (BERLIN, True),
        ("America/New_York", True),
        ("EST5EDT", True),
    ],
)
def test_zones_with_daylight_saving_time_are_known(time_zone: str, changes: bool) -> None:
    assert has_daylight_saving(time_zone) is changes


@pytest.mark.parametrize(
    "time_zone", ["", "Berlin", "Europe", "Europe/Berlim", "local", "Local", "posix/UTC", "../UTC", "a\0b"]
)
def test_an_unknown_zone_is_refused_with_what_to_write(time_zone: str) -> None:
    with pytest.raises(ValueError, match="such as Etc/UTC or Europe/Berlin"):
        load_time_zone(time_zone)


def test_every_zone_of_the_database_is_known() -> None:
    unknown = []
    for name in zoneinfo.available_timezones() - {"localtime", "Factory"}:
        try:
            load_time_zone(name)
        except ValueError:
            unknown.append(name)
    assert not unknown


@given(name=names, schedule=st.sampled_from(["H 3 * * *", "H/7 H/5 * * *", "H H H * *", "H H * H H", "0 H/3 H/9 * *"]))
def test_what_h_became_is_a_schedule_of_numbers(name: str, schedule: str) -> None:
    text = resolved(schedule, name=name, time_zone=BERLIN)
    assert "H" not in text
    validate(text)
    assert resolved(text) == text
    next(CronSim(text, dt.datetime(2026, 11, 22, tzinfo=dt.UTC)))

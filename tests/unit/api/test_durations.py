"""Durations: one number and one unit."""

from __future__ import annotations

import pytest

from housekeeper_api.durations import SHAPE, Duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("0s", 0),
        ("90s", 90),
        ("15m", 900),
        ("1h", 3600),
        ("1d", 86_400),
        ("2w", 14 * 86_400),
        ("1mo", 30 * 86_400),
        ("1y", 365 * 86_400),
        ("999999y", 999_999 * 365 * 86_400),
    ],
)
def test_a_duration_is_read_and_written_as_it_stands(text: str, seconds: float) -> None:
    duration = Duration.parse(text)
    assert duration.seconds == seconds
    assert str(duration) == text


def test_number_and_unit_are_kept_for_calendar_steps() -> None:
    assert Duration.parse("3mo") == Duration(number=3, unit="mo")
    assert Duration.parse("90d") != Duration.parse("3mo"), "equal in seconds, and yet not the same step"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5 m",
        "1h30m",
        "1.5h",
        "-5m",
        "+5m",
        "05m",
        "5M",
        "5min",
        "1000000s",
        "5m\n",
        " 5m",
        "\u0665m",
        "5m5m",
        "ms",
    ],
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="one number and one unit") as refusal:
        Duration.parse(text)
    assert str(refusal.value) == SHAPE

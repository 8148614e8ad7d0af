"""A result fits into what the kubelet keeps, whatever a run found."""

from __future__ import annotations

import dataclasses
import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.result import MAX_BYTES, AuditReport, CheckReport, CheckResult, Cleanup, Result

RESULTS: tuple[CheckResult, ...] = get_args(CheckResult)


def result(*checks: CheckReport, message: str = "m" * 512) -> Result:
    return Result(
        outcome="PartiallySucceeded", message=message, mode="DryRun", duration_seconds=12345.678, checks=checks
    )


def many(width: int, message: int = 128, of: CheckResult | None = None) -> tuple[CheckReport, ...]:
    """As many checks as a HealthCheck may have, with names of `width` characters."""
    return tuple(
        CheckReport(
            name=f"{place:02d}".rjust(width, "n"),
            result=of or RESULTS[place % 4],
            value="98.76",
            unit="percent",
            message="x" * message,
        )
        for place in range(32)
    )


def read(text: str) -> Result:
    assert len(text.encode()) <= MAX_BYTES
    return Result.from_json(text)


def test_what_fits_is_told_whole() -> None:
    told = result(*many(4, message=0), message="fine")
    assert read(told.to_json(max_bytes=MAX_BYTES)) == told


def test_of_many_checks_each_is_told_with_its_value_and_less_words() -> None:
    told = read(result(*many(16)).to_json(max_bytes=MAX_BYTES))
    assert told.truncated
    assert told.checks is not None
    assert [(one.name, one.result) for one in told.checks] == [(one.name, one.result) for one in many(16)]
    assert {one.value for one in told.checks if one.result != "Passed"} == {"98.76"}


@pytest.mark.parametrize("of", [None, *RESULTS])
def test_where_not_even_the_names_fit_what_is_known_to_be_wrong_is_told(of: CheckResult | None) -> None:
    told = read(result(*many(63, of=of)).to_json(max_bytes=MAX_BYTES))
    assert told.truncated
    assert told.checks is not None
    assert 28 <= len(told.checks) < 32
    if of is None:
        left = {one.name for one in many(63)} - {one.name for one in told.checks}
        assert left <= {one.name for one in many(63) if one.result == "Unknown"}


def test_names_of_many_bytes_in_every_sentence_fit_too() -> None:
    cleanup = Cleanup(
        scanned=2**53,
        bytes_freed=2**60,
        skipped=dict.fromkeys(("settling", "future", "unparsable", "spared", "held", "gone", "inUse"), 2**40),
        errors=("\U0001f4a9" * 256,) * 5,
        notes=("\U0001f4a9" * 256,) * 5,
        audit=AuditReport("File", "p" * 250, lines=10**9, head="0" * 64),
    )
    told = dataclasses.replace(result(message="\U0001f4a9" * 512), checks=None, cleanup=cleanup)
    kept = read(told.to_json(max_bytes=MAX_BYTES)).cleanup
    assert kept is not None
    assert (kept.scanned, kept.audit) == (cleanup.scanned, cleanup.audit)


@given(st.integers(1, 63), st.integers(0, 128), st.sampled_from(["x", "ü", "€", "\U0001f4a9", '"', "\n"]))
def test_whatever_the_checks_say_it_is_json_that_fits(width: int, message: int, letter: str) -> None:
    checks = tuple(
        CheckReport(name=one.name, result=one.result, value=one.value, unit=one.unit, message=letter * message)
        for one in many(width)
    )
    text = result(*checks, message=letter * 512).to_json(max_bytes=MAX_BYTES)
    assert json.loads(text)["outcome"] == "PartiallySucceeded"
    assert read(text).truncated == ("truncated" in text and json.loads(text)["truncated"])

"""Quantities, as in a pod, and bytes for people."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity as client_parse_quantity

from housekeeper_api.quantities import format_bytes, parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", Decimal(0)),
        ("1", Decimal(1)),
        ("250m", Decimal("0.25")),
        ("1k", Decimal(1000)),
        ("1Ki", Decimal(1024)),
        ("0.5Gi", Decimal(2**29)),
        ("2Gi", Decimal(2**31)),
        ("3E", Decimal(3 * 10**18)),
    ],
)
def test_a_quantity_is_a_number(text: str, number: Decimal) -> None:
    assert parse_quantity(text) == number


@given(
    number=st.decimals(min_value=0, max_value=10**9, places=2),
    suffix=st.sampled_from(["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]),
)
def test_quantities_mean_what_the_kubernetes_client_says(number: Decimal, suffix: str) -> None:
    text = f"{number:f}{suffix}"
    assert parse_quantity(text) == client_parse_quantity(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Gi",
        "-1",
        "+1",
        "1e3",
        "1 Gi",
        "1GB",
        "1gi",
        ".5",
        "1.",
        "1\n",
        "9" * 25,
        "\u0663",
    ],
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="such as 500Mi or 2Gi"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (118 * 2**20, "118 MiB"),
        (2**31, "2.0 GiB"),
        (5 * 2**60, "5120 PiB"),
        (-1536, "-1.5 KiB"),
    ],
)
def test_bytes_are_written_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text

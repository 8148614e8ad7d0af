"""Items in order of time, however many and however close together they are."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_worker.retention.order import oldest_first

_EDGE = 2**63 - 1
TIMES = st.integers(-(2**63), _EDGE) | st.integers(0, 3) | st.sampled_from([-(2**63), -1, 0, 1, _EDGE - 1, _EDGE])


def ordered(times: Sequence[int], ranks: Callable[[], Sequence[int]] = list) -> list[int]:
    order = oldest_first(array("q", times), range(len(times)), ranks)
    assert order.times.tolist() == [times[index] for index in order.indices]
    return order.indices.tolist()


@given(st.lists(st.tuples(TIMES, st.binary(max_size=3)), unique=True, max_size=200))
def test_order_is_by_time_and_then_by_path(items: list[tuple[int, bytes]]) -> None:
    def ranks() -> Sequence[int]:
        order = sorted(range(len(items)), key=lambda index: items[index][1])
        found = [0] * len(items)
        for rank, index in enumerate(order):
            found[index] = rank
        return found

    order = ordered([time for time, _ in items], ranks)
    assert [items[index] for index in order] == sorted(items)


@given(st.randoms(use_true_random=False), st.lists(TIMES, min_size=1, max_size=20), st.integers(65, 400))
def test_many_items_near_few_moments(chance: random.Random, near: list[int], count: int) -> None:
    times = [max(-(2**63), min(_EDGE, chance.choice(near) + chance.randrange(-50, 50))) for _ in range(count)]
    ranks = list(range(count))
    chance.shuffle(ranks)
    order = ordered(times, lambda: ranks)
    assert order == sorted(range(count), key=lambda index: (times[index], ranks[index]))


@pytest.mark.parametrize(
    "time",
    [
        lambda number: (number * 7919) % 100_003,
        lambda number: (number * 7919) % 100_003 * 10**13 - 2**62,
        lambda number: 0 if number == 50_000 else 1_700_000_000_000_000_000 + (number * 7919) % 100_003,
        lambda number: 2 ** (number % 63) * 1_000 + number if number % 63 < 52 else -number,
    ],
    ids=["close", "far apart", "close, and one from 1970", "more and more sparse"],
)
def test_a_large_group_is_sorted_in_parts(time: Callable[[int], int]) -> None:
    times = list(map(time, range(100_003)))
    assert ordered(times, lambda: range(len(times))) == sorted(range(len(times)), key=lambda i: (times[i], i))


def test_a_group_is_some_of_the_items() -> None:
    times = array("q", [(number * 7919) % 100_003 for number in range(100_003)])
    members = array("I", range(1, 100_003, 3))
    assert oldest_first(times, members, list).indices.tolist() == sorted(members, key=times.__getitem__)


def test_paths_are_put_in_order_once_and_only_for_equal_times() -> None:
    asked = []

    def ranks() -> Sequence[int]:
        asked.append(True)
        return range(1_000, 0, -1)

    assert ordered([number // 2 for number in range(1_000)], ranks) == [number ^ 1 for number in range(1_000)]
    assert len(asked) == 1
    ordered(range(1_000), ranks)
    assert len(asked) == 1

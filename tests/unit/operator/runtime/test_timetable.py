from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from housekeeper_operator.timetable import Timetable

START = datetime(2026, 3, 1, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def test_the_earliest_time_asked_for_wins() -> None:
    table: Timetable[str] = Timetable()

    assert table.add("a", at(10))
    assert not table.add("a", at(20))
    assert table.add("a", at(5))

    assert table.next_due() == at(5)
    assert table.pop_due(at(5)) == ["a"]
    assert table.pop_due(at(100)) == []
    assert table.next_due() is None


def test_what_is_due_comes_out_earliest_first() -> None:
    table: Timetable[str] = Timetable()
    for key, seconds in (("late", 30), ("first", 1), ("second", 2)):
        table.add(key, at(seconds))

    assert table.pop_due(at(29)) == ["first", "second"]
    assert table.get("late") == at(30)


def test_a_discarded_key_is_not_due() -> None:
    table: Timetable[str] = Timetable()
    table.add("a", at(1))
    table.discard("a")
    table.discard("never there")

    assert len(table) == 0
    assert table.next_due() is None
    assert table.pop_due(at(9)) == []


def test_a_key_moved_a_thousand_times_leaves_no_trace() -> None:
    table: Timetable[str] = Timetable()
    for seconds in range(1000):
        table.discard("a")
        table.add("a", at(seconds))

    assert len(table._heap) < 100
    assert table.pop_due(at(2000)) == ["a"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.integers(0, 50)),
        st.tuples(st.just("discard"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("pop"), st.just(""), st.integers(0, 50)),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_does_what_a_plain_dictionary_would(steps: list[tuple[str, str, int]]) -> None:
    table: Timetable[str] = Timetable()
    model: dict[str, int] = {}
    for what, key, seconds in steps:
        if what == "add":
            table.add(key, at(seconds))
            model[key] = min(seconds, model.get(key, seconds))
        elif what == "discard":
            table.discard(key)
            model.pop(key, None)
        else:
            due = sorted((when, name) for name, when in model.items() if when <= seconds)
            assert table.pop_due(at(seconds)) == [name for _, name in due]
            for _, name in due:
                del model[name]
        assert len(table) == len(model)
        assert table.next_due() == (at(min(model.values())) if model else None)

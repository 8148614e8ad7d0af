"""Columns of files: what is left of them when some are taken out."""

from __future__ import annotations

from itertools import compress

from hypothesis import given
from hypothesis import strategies as st

from housekeeper_worker.retention.records import COLUMNS, Records


@given(st.data(), st.integers(0, 300))
def test_those_that_are_marked(data: st.DataObject, count: int) -> None:
    """Of many a few are left out, or many: both are done in ways of their own."""
    out = data.draw(st.sets(st.integers(0, max(0, count - 1)), max_size=5) | st.sets(st.integers(0, 300)))
    marks = [place not in out for place in range(count)]
    records = Records()
    columns = {name: range(number, number + count) for number, name in enumerate(COLUMNS)}
    records.extend([b"%d" % number for number in range(count)], **columns)
    found = records.compressed(marks)
    assert found.names == list(compress(records.names, marks))
    for name in COLUMNS:
        assert getattr(found, name).tolist() == list(compress(columns[name], marks))
    assert len(records) == count, "others see the same records"

"""Files of which a plan has several names."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from housekeeper_worker.retention.links import Links
from housekeeper_worker.retention.records import Records


def records(names: list[tuple[int, int, int]]) -> Records:
    """From device, inode and links of each name."""
    found = Records()
    device, inode, links = zip(*names, strict=True) if names else ((), (), ())
    found.extend([b"%d" % number for number in range(len(names))], device=device, inode=inode, links=links)
    return found


_NAMES: Final = st.lists(
    st.tuples(st.integers(1, 2), st.integers(0, 8) | st.integers((1 << 64) - 4, (1 << 64) - 1), st.integers(1, 4)),
    max_size=30,
)


@given(_NAMES, st.integers(0, 200_000))
def test_it_knows_what_occurs_more_than_once(names: list[tuple[int, int, int]], most: int) -> None:
    counts = Counter((device, inode) for device, inode, links in names if links > 1)
    several = {file for file, count in counts.items() if count > 1}
    links = Links([records(names)], max(len(names), most))
    places = {file: links.place(*file) for file in counts}
    assert {file for file, place in places.items() if place >= 0} == several
    assert sorted(place for place in places.values() if place >= 0) == list(range(len(several)))
    assert len(links) == len(several)


def test_the_last_name_is_the_one_that_completes_them() -> None:
    links = Links([records([(1, 5, 2), (1, 5, 2), (1, 6, 3), (1, 6, 3), (1, 7, 2)])], 5)
    assert [links.is_last(1, 5, 2), links.is_last(1, 5, 2)] == [False, True]
    assert [links.is_last(1, 6, 3), links.is_last(1, 6, 3)] == [False, False]
    assert not links.is_last(1, 7, 2)


def test_many_files_that_share_their_content_fit_into_little_memory() -> None:
    """Two names of each, as two backups of one tree have them."""

    def names() -> Iterator[Records]:
        for _ in range(2):
            for begin in range(0, 100_000, 5_000):
                yield records([(1, inode, 2) for inode in range(begin, begin + 5_000)])

    tracemalloc.start()
    links = Links(names(), 200_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(links) == 100_000
    assert peak < 100 * len(links)

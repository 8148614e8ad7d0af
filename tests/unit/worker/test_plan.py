"""The plan: compact, and with a digest that depends on what is planned and on nothing else."""

from __future__ import annotations

import os
import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from housekeeper_worker.retention.paths import Chunk, in_path_order
from housekeeper_worker.retention.plan import Cause, Plan


def stat_of(inode: int) -> os.stat_result:
    """A regular file's stat: 10 items, the float times, ns times, block size, blocks, device."""
    return os.stat_result(
        (0o100644, inode, 1, 1, 0, 0, 5, 0, 0, 0), {"st_mtime_ns": inode, "st_ctime_ns": inode, "st_blocks": 8}
    )


def planned(files: list[tuple[bytes, bytes]]) -> Plan:
    plan = Plan()
    plan.add_cause(Cause(0, ("old",), {}))
    for directory, name in files:
        plan.add(directory, 0, [(os.fsdecode(name), stat_of(hash((directory, name)) & 0xFFFFFF))])
    return plan


NAMES = st.binary(min_size=1, max_size=3).filter(lambda name: b"/" not in name and b"\0" not in name)
DIRECTORIES = st.lists(NAMES, max_size=3).map(b"/".join)


@given(files=st.lists(st.tuples(DIRECTORIES, NAMES), unique=True, max_size=40), seed=st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order_of_the_scan(
    files: list[tuple[bytes, bytes]], seed: random.Random
) -> None:
    shuffled = list(files)
    seed.shuffle(shuffled)
    assert planned(files).digest(b"rules", 1, 2) == planned(shuffled).digest(b"rules", 1, 2)


@given(files=st.lists(st.tuples(DIRECTORIES, NAMES), unique=True, max_size=40))
def test_paths_come_in_order_of_their_bytes(files: list[tuple[bytes, bytes]]) -> None:
    paths = [path for path, _ in in_path_order(planned(files).chunks)]
    assert paths == sorted(directory + b"/" + name if directory else name for directory, name in files)


def test_a_directory_in_several_chunks_is_one() -> None:
    chunks = [Chunk(b"d", b"b\0d", 0, 2), Chunk(b"d/x", b"y", 2, 1), Chunk(b"d", b"a\0z", 3, 2)]
    assert list(in_path_order(chunks)) == [(b"d/a", 3), (b"d/b", 0), (b"d/d", 1), (b"d/x/y", 2), (b"d/z", 4)]


def test_the_digest_tells_files_rules_time_and_file_system_apart() -> None:
    base = [(b"d", b"a"), (b"d", b"b")]
    digests = {
        planned(base).digest(b"rules", 1, 2),
        planned(base[:1]).digest(b"rules", 1, 2),
        planned([(b"d", b"a"), (b"", b"b")]).digest(b"rules", 1, 2),
        planned(base).digest(b"other", 1, 2),
        planned(base).digest(b"rules", 2, 2),
        planned(base).digest(b"rules", 1, 3),
    }
    assert len(digests) == 6


def test_a_planned_file_takes_less_than_a_hundred_bytes() -> None:
    files = [(f"backup-{number:020d}", stat_of(number)) for number in range(20_000)]
    tracemalloc.start()
    try:
        plan = Plan()
        plan.add_cause(Cause(0, ("old",), {}))
        for directory in range(5):
            plan.add(b"directory-%d" % directory, 0, files)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / len(plan) < 100

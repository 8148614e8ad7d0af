"""The plan: on scratch, and with a digest that depends on what is planned and on nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import tracemalloc
from array import array
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.retention.plan import Cause, Plan
from housekeeper_worker.retention.records import Records
from housekeeper_worker.scratch import Scratch
from housekeeper_worker.volume.batches import Reader, cuts, length


def records_of(names: Iterable[bytes], directory: bytes = b"", cause: int = 0) -> Records:
    """Files with these names; everything else about them follows from their paths."""
    records = Records()
    listed = list(names)
    numbers = [int.from_bytes(hashlib.sha256(directory + b"/" + name).digest()[:4]) for name in listed]
    records.extend(listed, inode=numbers, size=numbers, modified=numbers, links=[1] * len(listed))
    records.cause = array("I", [cause]) * len(listed)
    return records


def planned(files: Iterable[tuple[bytes, bytes]], *, at_once: int = 1) -> Plan:
    """A plan of (directory, name), those of a directory added in parts of so many."""
    plan = Plan()
    plan.add_cause(Cause(0, ("old",), {}))
    names: dict[bytes, list[bytes]] = {}
    for directory, name in files:
        names.setdefault(directory, []).append(name)
    for directory, listed in names.items():
        for begin in range(0, len(listed), at_once):
            plan.add(directory, records_of(listed[begin : begin + at_once], directory))
    return plan


def path(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


NAMES = st.binary(min_size=1, max_size=3).filter(lambda name: b"/" not in name and b"\0" not in name)
DIRECTORIES = st.lists(NAMES, max_size=3).map(b"/".join)


FILES = st.lists(st.tuples(DIRECTORIES, NAMES), unique=True, max_size=40)


@given(files=FILES, seed=st.randoms(use_true_random=False), at_once=st.integers(1, 40))
def test_the_digest_does_not_depend_on_the_order_and_the_windows_of_the_scan(
    files: list[tuple[bytes, bytes]], seed: random.Random, at_once: int
) -> None:
    shuffled = list(files)
    seed.shuffle(shuffled)
    assert planned(files).digest(b"rules", 1, 2) == planned(shuffled, at_once=at_once).digest(b"rules", 1, 2)


@given(files=FILES, at_once=st.integers(1, 40))
def test_paths_come_in_order_of_their_bytes(files: list[tuple[bytes, bytes]], at_once: int) -> None:
    found = list(planned(files, at_once=at_once).in_path_order())
    assert [one for one, _ in found] == sorted(path(*file) for file in files)
    assert all(one.endswith(records.names[place]) for one, (records, place) in found)


def test_a_directory_in_several_parts_is_one() -> None:
    plan = Plan()
    plan.add_cause(Cause(0, ("old",), {}))
    for directory, names in ((b"d", [b"b", b"d"]), (b"d/x", [b"y"]), (b"d", [b"z", b"a"])):
        plan.add(directory, records_of(names))
    assert [one for one, _ in plan.in_path_order()] == [b"d/a", b"d/b", b"d/d", b"d/x/y", b"d/z"]


def test_names_of_a_large_part_are_read_bit_by_bit() -> None:
    names = [b"%0200d" % number for number in range(1000)]
    plan = planned([(b"d", name) for name in names], at_once=1000)
    pieces = list(plan.pieces(plan.parts[0]))
    assert len(pieces) > 10
    assert [name for records in pieces for name in records.names] == names
    whole = records_of(names, b"d")
    assert [inode for records in pieces for inode in records.inode] == list(whole.inode)


@given(files=FILES, at_once=st.integers(1, 40), data=st.data())
def test_a_narrowed_plan_is_that_of_the_files_that_are_left(
    files: list[tuple[bytes, bytes]], at_once: int, data: st.DataObject
) -> None:
    first = set(data.draw(st.lists(st.sampled_from(files), unique=True))) if files else set()
    second = set(data.draw(st.lists(st.sampled_from(files), unique=True))) if files else set()
    narrowed = planned(files, at_once=at_once)
    for left in (first, second):
        narrowed = narrowed.narrowed(
            lambda directory, records, left=left: [(directory, name) in left for name in records.names]
        )
    assert [one for one, _ in narrowed.in_path_order()] == sorted(path(*file) for file in first & second)
    assert len(narrowed) == len(first & second)
    assert narrowed.digest(b"", 1, 2) == planned(first & second).digest(b"", 1, 2)


@given(files=FILES, at_once=st.integers(1, 40), size=st.integers(1, 20))
def test_batches_hold_every_planned_file_once(files: list[tuple[bytes, bytes]], at_once: int, size: int) -> None:
    plan = planned(files, at_once=at_once)
    cut = list(map(Reader(plan).batch, cuts(plan, size)))
    told = [path(share.directory, name) for batch in cut for share in batch for name in share.records.names]
    assert sorted(told) == sorted(path(*file) for file in files)
    assert all(length(batch) == size for batch in cut[:-1])
    for batch in cut:
        for share in batch:
            assert list(share.records.inode) == sorted(share.records.inode)


def test_the_digest_tells_files_rules_time_and_file_system_apart() -> None:
    base = [(b"d", b"a"), (b"d", b"b")]
    other_rule = Plan()
    other_rule.add_cause(Cause(1, ("old",), {}))
    other_rule.add(b"d", records_of([b"a", b"b"], b"d"))
    digests = {
        planned(base).digest(b"rules", 1, 2),
        planned(base[:1]).digest(b"rules", 1, 2),
        planned([(b"d", b"a"), (b"", b"b")]).digest(b"rules", 1, 2),
        planned(base).digest(b"other", 1, 2),
        planned(base).digest(b"rules", 2, 2),
        planned(base).digest(b"rules", 1, 3),
        other_rule.digest(b"rules", 1, 2),
    }
    assert len(digests) == 7


def test_a_plan_takes_memory_by_the_directory_and_not_by_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOUSEKEEPER_SCRATCH", str(tmp_path))
    records = records_of([b"backup-%020d" % number for number in range(20_000)])
    with contextlib.closing(Scratch()) as scratch:
        plan = Plan(scratch)
        plan.add_cause(Cause(0, ("old",), {}))
        tracemalloc.start()
        try:
            for directory in range(20):
                plan.add(b"directory-%d" % directory, records)
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size / len(plan) < 10
        assert plan.records(plan.parts[0]).names == records.names
        assert not list(tmp_path.iterdir()), "scratch has no name, so nothing of it can be left"


def test_all_stores_of_a_worker_have_one_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOUSEKEEPER_SCRATCH", str(tmp_path))
    monkeypatch.setenv("HOUSEKEEPER_SCRATCH_LIMIT", str(3 << 20))
    block = b"x" * (1 << 20)
    with contextlib.closing(Scratch()) as here, contextlib.closing(Scratch()) as there:
        here.append(block)
        here.flush()
        there.open()
        child = os.fork()
        if child == 0:
            there.append(block)
            there.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        there.written_by_another(len(block))
        here.append(block[1:])
        here.flush()
        here.append(b"xx")
        with pytest.raises(CouldNotRun, match="HOUSEKEEPER_SCRATCH_LIMIT"):
            here.flush()
        there.close()
        here.flush()


@pytest.mark.parametrize("limit", ["", "1Gi"])
def test_a_limit_of_scratch_is_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("HOUSEKEEPER_SCRATCH_LIMIT", limit)
    with contextlib.closing(Scratch()) as scratch:
        scratch.append(b"x")
        if limit:
            with pytest.raises(CouldNotRun, match="number of bytes"):
                scratch.flush()
        else:
            scratch.flush()

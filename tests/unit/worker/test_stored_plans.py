"""Stored plans: their file, a million records in little memory, and volumes that are attached again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_worker.held.approval import common
from housekeeper_worker.held.plan_file import Header, Record, StoredPlan, write
from housekeeper_worker.retention.plan import Cause, Plan
from housekeeper_worker.retention.records import Records
from tests.unit.worker.scenarios import REPOSITORY

HEADER = Header(
    namespace="shop",
    policy="logs",
    run="run-1",
    attempt=1,
    mode="Enforce",
    path="",
    time_zone="Etc/UTC",
    now_ns=1,
    hold_seconds=None,
    file_system="uuid:00",
    items=0,
    bytes=0,
    held=(),
    rules=({"name": "old"}, {"name": "dumps"}),
)


def records_of(names: list[bytes], inodes: list[int], cause: int) -> Records:
    """Files whose times are their inodes' numbers."""
    records = Records()
    count = len(names)
    records.extend(
        names,
        inode=inodes,
        modified=inodes,
        changed=inodes,
        size=[5] * count,
        allocated=[4096] * count,
        links=[1] * count,
        cause=[cause] * count,
    )
    return records


def planned(files: list[tuple[bytes, bytes]], causes: list[Cause]) -> Plan:
    plan = Plan()
    for cause in causes:
        plan.add_cause(cause)
    for directory, name in files:
        inode = int.from_bytes(hashlib.sha256(directory + b"/" + name).digest()[:4], "big")
        plan.add(directory, records_of([name], [inode], inode % len(causes)))
    return plan


def stored(path: Path, plan: Plan, header: Header = HEADER) -> str:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        complete = Header(**{**_members(header), "items": len(plan)})
        return write(fd, complete, plan, lambda found: len(found) if len(found) % 2 else None)
    finally:
        os.close(fd)


def _members(header: Header) -> dict[str, object]:
    return {name: getattr(header, name) for name in Header.__dataclass_fields__}


def read(path: Path) -> tuple[Header, list[Record], str]:
    fd = os.open(path, os.O_RDONLY)
    try:
        plan = StoredPlan(fd)
        return plan.header, list(plan.records()), plan.digest
    finally:
        os.close(fd)


CAUSES = [Cause(0, ("older than 30d",), {}), Cause(1, ("not among last 3",), {"env": "prod"}), Cause(1, ("x",), {})]
NAMES = st.binary(min_size=1, max_size=3).filter(lambda name: b"/" not in name and b"\0" not in name)
FILES = st.lists(st.tuples(st.lists(NAMES, max_size=3).map(b"/".join), NAMES), unique=True, max_size=40)


@given(files=FILES, seed=st.randoms(use_true_random=False))
def test_what_is_stored_is_read_back_and_does_not_depend_on_the_scan(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[bytes, bytes]], seed: random.Random
) -> None:
    directory = tmp_path_factory.mktemp("plans")
    digest = stored(directory / "one", planned(files, CAUSES))
    header, records, found = read(directory / "one")
    assert found == digest == hashlib.sha256((directory / "one").read_bytes()).hexdigest()
    assert [record.path for record in records] == sorted(b"/".join(filter(None, file)) for file in files)
    for record in records:
        assert record.modified == record.inode
        assert record.born == (len(record.path) if len(record.path) % 2 else None)
        assert (record.size, record.allocated) == (5, 4096)
        assert header.causes[record.cause] == CAUSES[record.inode % len(CAUSES)]
    shuffled = list(files)
    seed.shuffle(shuffled)
    assert stored(directory / "two", planned(shuffled, CAUSES)) == digest


def test_the_first_line_is_json_for_a_person(tmp_path: Path) -> None:
    stored(tmp_path / "plan", planned([(b"", b"a")], CAUSES))
    line = json.loads((tmp_path / "plan").read_bytes().partition(b"\n")[0])
    assert line["format"] == "housekeeper-plan/1"
    assert (line["namespace"], line["policy"], line["items"], line["fileSystem"]) == ("shop", "logs", 1, "uuid:00")
    assert line["causes"][0] == [0, ["older than 30d"], {}]


def test_paths_of_any_length_are_stored(tmp_path: Path) -> None:
    files = [(b"/".join([b"d" * 200] * 2000), b"deep"), (b"", b"flat")]
    stored(tmp_path / "plan", planned(files, CAUSES))
    assert [len(record.path) for record in read(tmp_path / "plan")[1]] == [2000 * 201 + 4, 4]


def large(directories: int) -> Plan:
    """A thousand files in each directory, found in two windows."""
    plan = planned([], CAUSES)
    for directory in range(directories):
        for half in (0, 1):
            numbers = range(half, 1000, 2)
            inodes = [directory * 1000 + number for number in numbers]
            plan.add(b"%04d" % directory, records_of([b"%04d.log" % number for number in numbers], inodes, 0))
    return plan


def every_second(fd: int) -> Iterator[Record]:
    os.lseek(fd, 0, os.SEEK_SET)
    return (record for number, record in enumerate(StoredPlan(fd).records()) if number % 2)


def test_a_plan_of_a_million_is_stored_and_approved(tmp_path: Path) -> None:
    plan = large(1000)
    digest = stored(tmp_path / "plan", plan)
    fd = os.open(tmp_path / "plan", os.O_RDONLY)
    file = StoredPlan(fd)
    assert len(common(plan, file.records(), lambda path: len(path) if len(path) % 2 else None)) == 1_000_000
    assert file.digest == digest
    os.close(fd)


def test_neither_storing_nor_approving_takes_a_plan_into_memory(tmp_path: Path) -> None:
    plan = large(50)
    stored(tmp_path / "plan", plan)
    fd = os.open(tmp_path / "plan", os.O_RDONLY)
    tracemalloc.start()
    try:
        stored(tmp_path / "again", plan)
        _, writing = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        common(plan, every_second(fd), lambda _: None)
        _, reading = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        os.close(fd)
    assert os.stat(tmp_path / "plan").st_size > 2_900_000
    assert writing < 1_500_000
    assert reading - len(plan) < 4_500_000  # blocks of 1 MiB, and a rest before the next


@pytest.mark.usefixtures("file_system_tools")
@pytest.mark.parametrize(("kind", "known_by"), [("ext4", "uuid"), ("xfs", "uuid"), ("btrfs", "fsid")])
def test_a_plan_is_approved_after_the_volume_was_attached_again(
    open_volume: Path, kind: str, known_by: str, uid: int
) -> None:
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.unit.worker.reattaching"]
    done = subprocess.run(
        [*command, open_volume.parent, kind, str(uid)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["held"]["outcome"] == "Held"
    assert not told["sameDevice"]
    assert (told["sameIdentity"], told["kind"]) == (True, known_by)
    assert told["elsewhere"]["outcome"] == "Held"
    assert "is one of another volume" in told["elsewhere"]["message"]
    assert told["leftElsewhere"] == 20
    assert (told["approved"]["outcome"], told["approved"]["cleanup"]["removed"]) == ("Succeeded", 20)
    assert told["left"] == 0

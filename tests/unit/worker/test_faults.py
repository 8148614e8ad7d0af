"""What may be wrong with a volume, on each file system, for root and for a worker that is confined as in a pod."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import leftovers
from tests.unit.worker import faults
from tests.unit.worker.confinement import UID
from tests.unit.worker.mounting import KINDS
from tests.unit.worker.ways import Way


class Told(dict[str, Any]):
    """What each fault led to. One that could not be played fails the test that asks for it."""

    def __missing__(self, fault: str) -> Any:
        raise AssertionError(f"nothing was told of {fault}")

    def of(self, fault: str) -> dict[str, Any]:
        """The answer of one."""
        answer: dict[str, Any] = self[fault]
        assert "raised" not in answer, answer["raised"]
        return answer


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Of the file system."""
    return str(request.param)


@pytest.fixture(scope="module", params=[Way(0), Way(UID)], ids=["root", "confined"])
def told(request: pytest.FixtureRequest, kind: str, file_system_tools: None) -> Iterator[Told]:
    """All faults, played once."""
    directory = Path(tempfile.mkdtemp(prefix=leftovers.prefix(), dir="/tmp"))
    directory.chmod(0o755)
    (directory / "volume").mkdir(mode=0o755)
    try:
        yield Told(faults.told(directory, kind, request.param))
    finally:
        subprocess.run(["rm", "-rf", directory], check=True)


def done(result: dict[str, Any]) -> tuple[str, int, dict[str, int]]:
    """How a run ended, what went and what was skipped."""
    cleanup = result["cleanup"]
    return result["outcome"], cleanup["removed"], cleanup["skipped"]


def test_names_of_any_bytes_go_and_are_told(told: Told) -> None:
    answer = told.of("odd_names")
    assert done(answer["result"]) == ("Succeeded", len(faults.NAMES), {})
    assert (answer["left"], answer["told"]) == (0, True)


def test_planned_names_of_one_inode_all_go_and_count_with_the_last(told: Told) -> None:
    answer = told.of("hard_links")
    assert done(answer["result"]) == ("Succeeded", 4, {})
    assert answer["left"] == ["stays/name"]
    assert answer["result"]["cleanup"]["bytesFreed"] == answer["occupied"]


def test_a_sparse_file_counts_what_it_occupies(told: Told) -> None:
    answer = told.of("sparse_files")
    assert done(answer["result"]) == ("Succeeded", 1, {})
    assert answer["result"]["cleanup"]["bytesFreed"] == answer["occupied"] < 1 << 20


def test_trees_of_two_thousand_levels_are_walked_and_go(told: Told) -> None:
    answer = told.of("deep_trees")
    assert done(answer["files"]) == ("Succeeded", 1, {})
    assert done(answer["whole"]) == ("Succeeded", 1, {})
    assert (answer["left"], answer["trash"]) == ([".housekeeper", "files"], ["journal"])


def test_nobody_waits_for_a_stopped_holder_of_a_lease(told: Told) -> None:
    answer = told.of("a_stopped_lease_holder")
    assert done(answer["result"]) == ("Succeeded", 1, {"inUse": 1})
    assert answer["left"] == ["held"]
    assert answer["result"]["durationSeconds"] < 10


def test_what_is_immutable_stays_and_is_told_apart_from_permission(told: Told) -> None:
    answer = told.of("immutable_files")
    assert done(answer["result"]) == ("PartiallySucceeded", 1, {"immutable": 3})
    assert answer["left"] == ["directory/inside", "file", "growing/inside"]


def test_mounts_in_the_tree_are_not_crossed(told: Told) -> None:
    answer = told.of("mounts_inside")
    assert done(answer["result"]) == ("Succeeded", 1, {})
    assert answer["left"] == ["bind/precious", "over", "tmpfs/inside"]


def test_what_another_namespace_has_mounted_in_the_tree_is_unharmed(told: Told) -> None:
    """What lies below its mount point here is of the volume, and goes; what is mounted there is not."""
    answer = told.of("mounts_elsewhere")
    assert done(answer["result"]) == ("Succeeded", 3, {})
    assert (answer["outside"], answer["seen"]) == (2, "deep\nprecious\n")


def test_an_attacker_who_swaps_a_directory_and_a_link_wins_nothing(told: Told) -> None:
    answer = told.of("swapped_directories")
    assert answer["outside"] == 41
    assert answer["removed"] > 0


@pytest.mark.parametrize("answer", ["ENOSYS", "EPERM"])
def test_without_openat2_and_renameat2_nothing_is_weaker(told: Told, answer: str) -> None:
    one = told.of("refused_calls")[answer]
    assert done(one["result"]) == ("Succeeded", 6, {"inUse": 1})
    assert (one["quarantined"], one["left"]) == (5, ["held/item/a"])


def test_killed_anywhere_the_next_run_finishes(told: Told) -> None:
    answer = told.of("killed")
    assert answer["seen"]["start"] == answer["kills"]
    assert answer["seen"]["broughtBack"] + answer["seen"]["finished"] > 0


def test_on_a_full_volume_files_go_and_nothing_is_halved_or_lost(told: Told) -> None:
    answer = told.of("full")
    assert done(answer["files"]) == ("Succeeded", 20, {})
    assert answer["left"] == 0
    assert not answer["half"]
    assert done(answer["directory"]) in [("Succeeded", 1, {}), ("PartiallySucceeded", 0, {"noSpace": 1})]
    assert answer["whole"]
    moved = answer["moving"]["cleanup"]
    assert moved["quarantined"] + moved["skipped"].get("noSpace", 0) == 20


def test_what_is_mounted_read_only_can_be_planned_and_no_more(told: Told) -> None:
    answer = told.of("read_only")
    assert done(answer["dry"]) == ("Succeeded", 20, {})
    assert answer["real"]["outcome"] == "CouldNotRun"
    assert "mounted read-only" in answer["real"]["message"]
    assert answer["left"] == 20

"""Runs on file systems made for the purpose: mounts in the tree, read-only, full, closed to the worker."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from housekeeper_api.result import as_dict
from housekeeper_worker.errors import CouldNotRun
from tests.unit.worker.builders import OLD, as_user, carry_out, cleanup_task, files_below, write
from tests.unit.worker.confinement import UID
from tests.unit.worker.scenarios import scene
from tests.unit.worker.ways import Way

"""The worker's, in a pod."""


@pytest.fixture(params=[False, True], ids=["openat2", "component-wise"])
def way(request: pytest.FixtureRequest, uid: int) -> Way:
    """Root and a confined worker, each with and without openat2."""
    return Way(uid, request.param)


def test_an_ext4_of_its_own_is_cleaned_by_an_unprivileged_worker(open_volume: Path, way: Way) -> None:
    told = scene("ext4", open_volume.parent, way=way)
    cleanup = told["result"]["cleanup"]
    assert told["result"]["outcome"] == "Succeeded"  # lost+found, which it may not read, is none of its business
    assert (cleanup["scanned"], cleanup["removed"], cleanup["errorCount"]) == (50, 25, 0)
    assert cleanup["bytesFreed"] == cleanup["freedOnDisk"] == 25 * 4096
    assert len(told["left"]) == 25


def test_mounts_below_the_root_are_not_crossed(open_volume: Path, way: Way) -> None:
    told = scene("mounts_inside", open_volume.parent, way=way)
    assert told["outside"] == ["file", "precious"]
    assert told["left"] == ["bind/file", "bind/precious", "over", "tmpfs/inside"]
    assert told["result"]["cleanup"]["removed"] == 1
    assert "3 mounts below the root not entered" in told["result"]["message"]


def test_a_mount_of_the_root_in_itself_is_not_crossed(open_volume: Path, way: Way) -> None:
    told = scene("later_rules_do_not_cross", open_volume.parent, way=way)
    assert told["left"] == []
    assert (told["result"]["cleanup"]["scanned"], told["result"]["cleanup"]["removed"]) == (1, 1)


def test_a_path_on_another_mount_is_refused(open_volume: Path, way: Way) -> None:
    told = scene("path_is_a_mount", open_volume.parent, way=way)
    assert "is on another mount, which is never entered" in told["error"]
    assert told["left"] == ["precious"]


def test_a_read_only_volume_can_be_planned_and_not_cleaned(open_volume: Path, way: Way) -> None:
    told = scene("read_only", open_volume.parent, way=way)
    assert told["dry"]["outcome"] == "Succeeded"
    assert told["dry"]["cleanup"]["removed"] == 20
    assert told["real"]["outcome"] == "CouldNotRun"
    assert told["real"]["cleanup"]["skipped"] == {"readOnly": 1, "reserved": 1}  # stopped at the first
    assert "mounted read-only" in told["real"]["message"]
    assert told["left"] == 20


def test_a_full_volume_is_cleaned(open_volume: Path, way: Way) -> None:
    told = scene("full", open_volume.parent, way=way)
    assert told["result"]["outcome"] == "Succeeded"
    assert told["left"] == ["filler"]


def test_an_overlay_is_cleaned(open_volume: Path, way: Way) -> None:
    told = scene("overlay", open_volume.parent, way=way)
    assert told["result"]["cleanup"]["removed"] == 2
    assert told["left"] == ["d/young"]


@pytest.mark.parametrize("attribute", ["i", "a"])
def test_immutable_files_and_directories_are_told_apart_from_permission(open_volume: Path, attribute: str) -> None:
    write(open_volume / "held", days=OLD)
    write(open_volume / "directory/inside", days=OLD)
    write(open_volume / "free", days=OLD)
    subprocess.run(["chattr", f"+{attribute}", open_volume / "held", open_volume / "directory"], check=True)
    result = carry_out(cleanup_task(open_volume))
    assert result.outcome == "PartiallySucceeded"
    assert result.cleanup is not None
    assert result.cleanup.skipped == {"immutable": 2}
    assert result.cleanup.error_count == 2
    assert all("chattr -i" in error for error in result.cleanup.errors)
    assert files_below(open_volume) == {b"held", b"directory/inside"}


def test_files_of_another_user_name_the_uid_and_the_field(open_volume: Path) -> None:
    for number in range(10):
        write(open_volume / f"data/f{number}", days=OLD)
    os.chown(open_volume / "data", 1234, 5678)
    told = as_user(UID, lambda: as_dict(carry_out(cleanup_task(open_volume))))
    assert told["outcome"] == "CouldNotRun"
    assert "uid 1234 gid 5678" in told["message"]
    assert "spec.pod.securityContext.runAsUser to 1234" in told["message"]
    assert told["cleanup"]["skipped"] == {"permission": 10}
    assert told["cleanup"]["errorCount"] == 10
    assert len(told["cleanup"]["errors"]) == 5
    assert len(files_below(open_volume)) == 10


def test_files_of_root_are_not_answered_with_run_as_root(open_volume: Path) -> None:
    write(open_volume / "data/f", days=OLD)
    told = as_user(UID, lambda: as_dict(carry_out(cleanup_task(open_volume))))
    assert "uid 0 gid 0" in told["message"]
    assert "fsGroup" in told["message"]
    assert "runAsUser to 0" not in told["message"]


def test_a_directory_that_may_not_be_read_makes_the_run_partial(open_volume: Path) -> None:
    write(open_volume / "closed/f", days=OLD)
    write(open_volume / "open/f", days=OLD)
    os.chown(open_volume / "open", UID, UID)
    os.chown(open_volume / "closed", 1234, 1234)
    os.chmod(open_volume / "closed", 0o700)
    told = as_user(UID, lambda: as_dict(carry_out(cleanup_task(open_volume))))
    assert told["outcome"] == "PartiallySucceeded"
    assert told["cleanup"]["removed"] == 1
    assert told["cleanup"]["errorCount"] == 1
    assert "closed: no permission to read it: it belongs to uid 1234" in told["message"]


def test_a_directory_without_search_permission_is_an_error_for_its_files(open_volume: Path) -> None:
    write(open_volume / "d/f", days=OLD)
    os.chmod(open_volume / "d", 0o744)
    told = as_user(UID, lambda: as_dict(carry_out(cleanup_task(open_volume))))
    assert told["outcome"] == "PartiallySucceeded"
    assert told["cleanup"]["errorCount"] == 1


def test_a_sticky_directory_keeps_the_files_of_others(open_volume: Path) -> None:
    write(open_volume / "tmp/mine", days=OLD)
    write(open_volume / "tmp/theirs", days=OLD)
    os.chown(open_volume / "tmp/mine", UID, UID)
    os.chmod(open_volume / "tmp", 0o1777)  # noqa: S103 - like /tmp
    told = as_user(UID, lambda: as_dict(carry_out(cleanup_task(open_volume))))
    assert told["outcome"] == "PartiallySucceeded"
    assert told["cleanup"]["skipped"] == {"permission": 1}
    assert files_below(open_volume) == {b"tmp/theirs"}


def test_a_root_that_may_not_be_read_is_explained(open_volume: Path) -> None:
    os.chown(open_volume, 1234, 1234)
    os.chmod(open_volume, 0o700)

    def attempt() -> str:
        try:
            carry_out(cleanup_task(open_volume))
        except CouldNotRun as error:
            return str(error)
        return ""

    assert "uid 1234" in as_user(UID, attempt)


def test_a_mount_in_a_directory_keeps_the_whole(open_volume: Path, way: Way) -> None:
    told = scene("mounts_in_directories", open_volume.parent, way=way)
    cleanup = told["result"]["cleanup"]
    assert (cleanup["matched"], cleanup["removed"], cleanup["skipped"]) == (5, 2, {"mount": 3})
    assert "1 mount below the root not entered" in told["result"]["message"]
    assert told["outside"] == ["precious"]
    assert [name.partition("/")[0] for name in told["left"] if "trash" not in name] == ["bind", "itself", "over"]


def test_a_directory_that_cannot_be_renamed_stays_whole(open_volume: Path, way: Way) -> None:
    told = scene("directories_that_cannot_move", open_volume.parent, way=way)
    cleanup = told["result"]["cleanup"]
    assert (cleanup["removed"], cleanup["skipped"]) == (1, {"unmovable": 1})
    assert (told["result"]["outcome"], told["left"]) == ("PartiallySucceeded", ["below/deep/x", "below/x"])
    assert "never removed piece by piece" in told["result"]["message"]
    assert told["trash"] == 1  # the journal


def test_a_subvolume_in_a_directory_keeps_the_whole(open_volume: Path, way: Way, file_system_tools: None) -> None:
    told = scene("subvolume_in_a_directory", open_volume.parent, way=way)
    cleanup = told["result"]["cleanup"]
    assert (cleanup["removed"], cleanup["skipped"]) == (1, {"mount": 1})
    assert [name for name in told["left"] if "trash" not in name] == ["above/below/x", "above/x", "whole/x"]


def test_on_a_full_volume_a_directory_goes_or_stays_whole(open_volume: Path, way: Way) -> None:
    told = scene("full_with_a_directory", open_volume.parent, way=way)
    first = told["first"]["cleanup"]
    assert (first["removed"], first["skipped"], told["left"]) in [(1, {}, 0), (0, {"noSpace": 1}, 20)]
    assert (first["removed"] + told["again"]["cleanup"]["removed"], told["end"]) == (1, ["trash/journal"])


def test_mount_points_are_never_removed_as_emptied(open_volume: Path, way: Way) -> None:
    told = scene("emptied_mount_points", open_volume.parent, way=way)
    assert (told["b"], told["mount"], told["result"]["cleanup"]["removedDirectories"]) == (False, True, 1)

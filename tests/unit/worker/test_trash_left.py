"""What a run that was killed left in the trash: the next one brings it back or finishes it, and loses nothing."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
from pathlib import Path

import pytest

from housekeeper_worker.stop import Stop
from housekeeper_worker.volume.emptying import Emptying
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.trash import Coming, Trash
from tests.unit.worker.builders import (
    OLD,
    as_user,
    carry_out,
    cleanup_task,
    counters,
    directories,
    files_below,
    give,
    item,
    write,
)
from tests.unit.worker.test_directories import left, trashed


def leave(volume: Path, *, committed: bool, part: bool = False) -> None:
    """What a worker that was killed leaves in the trash of the directory `d`."""
    with VolumeRoot.open(str(volume)) as root, Trash.open(root, "killed-run", create=True) as trash:
        (entry,) = trash.announce([Coming(b"d", os.stat(volume / "d").st_ino)])
        trash.take(root.fd, b"d", entry)
        if committed:
            trash.commit([entry])
        if part:
            stop = Stop()
            emptying = Emptying(root, trash.fd, stop)
            emptying._unlink = lambda *_: stop.now("Cancelled")
            emptying.empty(entry.name)


def test_what_was_only_renamed_comes_back(volume: Path) -> None:
    item(volume / "d", "a", "deep/b")
    leave(volume, committed=False)
    assert left(volume) == set()
    done = counters(carry_out(cleanup_task(volume, directories(older="50d"))))
    assert (done.removed, done.matched) == (0, 1)
    assert files_below(volume / "d") == {b"a", b"deep/b"}
    assert trashed(volume) == set()


def test_it_comes_back_without_renameat2_too(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item(volume / "d", "a")
    leave(volume, committed=False)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "refused")

    monkeypatch.setattr("housekeeper_worker.volume.syscalls.rename_no_replace", refuse)
    carry_out(cleanup_task(volume, directories(older="50d")))
    assert files_below(volume / "d") == {b"a"}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_without_renameat2_what_is_no_directory_replaces_nothing(
    volume: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What somebody exchanged for the directory right before the rename must not cost what has its place since."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "refused")

    monkeypatch.setattr("housekeeper_worker.volume.syscalls.rename_no_replace", refuse)
    if kind == "link":
        (volume / "d").symlink_to(volume)
    else:
        write(volume / "d", content=b"exchanged")
    with VolumeRoot.open(str(volume)) as root, Trash.open(root, "run", create=True) as trash:
        (entry,) = trash.announce([Coming(b"d", 1)])
        os.rename("d", entry.name, src_dir_fd=root.fd, dst_dir_fd=trash.fd)
        write(volume / "d", content=b"precious")
        with pytest.raises(NotADirectoryError):
            trash.bring_back(entry)
        assert os.lstat(entry.name, dir_fd=trash.fd)
    assert (volume / "d").read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_what_is_no_directory_never_comes_into_the_trash(volume: Path, kind: str) -> None:
    """It was exchanged for one in the last moment, and no run would bring it back."""
    (volume / "elsewhere").mkdir()
    if kind == "file":
        write(volume / "d")
    else:
        (volume / "d").symlink_to("elsewhere" if kind == "link" else "nowhere")
    with VolumeRoot.open(str(volume)) as root, Trash.open(root, "run", create=True) as trash:
        (entry,) = trash.announce([Coming(b"d", 1)])
        with pytest.raises(NotADirectoryError):
            trash.take(root.fd, b"d", entry)
    assert (volume / "d").is_symlink() == (kind != "file")
    assert (volume / "elsewhere").is_dir()


def test_what_cannot_come_back_for_a_while_waits_for_the_next_run(open_volume: Path, uid: int) -> None:
    """Its place is free, and nobody may write there now."""
    above = open_volume / "above"
    item(above / "d", "a", "deep/b")

    def killed() -> None:
        with VolumeRoot.open(str(open_volume)) as root, Trash.open(root, "killed-run", create=True) as trash:
            (entry,) = trash.announce([Coming(b"above/d", os.stat(above / "d").st_ino)])
            with root.directory(b"above", for_reading=False) as fd:
                trash.take(fd, b"d", entry)

    def next_run() -> dict[str, object]:
        result = carry_out(cleanup_task(open_volume, directories(["none"])))
        return {"outcome": result.outcome, "removed": counters(result).removed, "errors": counters(result).errors}

    give(open_volume, uid)
    as_user(uid, killed)
    mark = ("chattr", "+i", above) if uid == 0 else ("chmod", "0555", above)
    subprocess.run(mark, check=True)
    try:
        told = as_user(uid, next_run)
    finally:
        subprocess.run(("chattr", "-i", above) if uid == 0 else ("chmod", "0755", above), check=True)
    assert (told["outcome"], told["removed"]) == ("PartiallySucceeded", 0)
    assert "could not be brought back" in told["errors"][0]
    assert as_user(uid, next_run) == {"outcome": "Succeeded", "removed": 0, "errors": []}
    assert files_below(above / "d") == {b"a", b"deep/b"}


@pytest.mark.parametrize("part", [False, True], ids=["nothing gone", "begun"])
def test_what_was_being_emptied_is_finished_and_counted(volume: Path, part: bool) -> None:
    item(volume / "d", "a", "deep/b", "deep/er/c")
    leave(volume, committed=True, part=part)
    read, written = os.pipe()
    done = counters(carry_out(cleanup_task(volume, directories(older="50d")), audit_fd=written))
    os.close(written)
    with os.fdopen(read) as pipe:
        told = [line for line in map(json.loads, pipe) if line["event"] == "finished"]
    assert [(line["path"], line["run"]) for line in told] == [("d", "killed-run")]
    assert (done.removed, done.matched, left(volume), trashed(volume)) == (1, 0, set(), set())
    assert told[0]["bytes"] == done.bytes_freed >= 3 * 8192


def test_a_marker_at_the_root_lets_it_lie_in_the_trash(volume: Path) -> None:
    item(volume / "d", "a")
    leave(volume, committed=True)
    write(volume / ".nocleanup")
    assert counters(carry_out(cleanup_task(volume, directories()))).removed == 0
    assert {name.rpartition(b"/")[2] for name in trashed(volume)} >= {b"a", b"journal"}
    (volume / ".nocleanup").unlink()
    assert counters(carry_out(cleanup_task(volume, directories()))).removed == 1


def test_what_was_finished_counts_though_the_audit_gets_lost(volume: Path, tmp_path: Path) -> None:
    item(volume / "d", "a")
    item(volume / "e", "a")
    with VolumeRoot.open(str(volume)) as root, Trash.open(root, "killed-run", create=True) as trash:
        entries = trash.announce([Coming(name, os.stat(volume / name.decode()).st_ino) for name in (b"d", b"e")])
        for entry in entries:
            trash.take(root.fd, entry.path, entry)
        trash.commit(entries)

    def run(limit: int) -> dict[str, object]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with open(tmp_path / "audit", "ab") as audit:
            result = carry_out(cleanup_task(volume, directories(["none"])), audit_fd=audit.fileno())
        return {"outcome": result.outcome, "removed": counters(result).removed}

    # Room for the line that a run begins, and for the intent of one of the two.
    first = as_user(0, lambda: run(1100))
    assert first == {"outcome": "Failed", "removed": 1}
    (tmp_path / "audit").unlink()
    assert as_user(0, lambda: run(1 << 20)) == {"outcome": "Succeeded", "removed": 1}
    assert trashed(volume) == set()


def test_what_is_finished_counts_for_no_openers(volume: Path) -> None:
    """Those are counted of files of the plan."""
    item(volume / "d", "a")
    leave(volume, committed=True)
    write(volume / "old", days=OLD)
    done = counters(carry_out(cleanup_task(volume)))
    assert (done.removed, done.planned, done.open_files) == (2, 1, {"notOpen": 1})


def test_a_dry_run_leaves_the_trash_alone(volume: Path) -> None:
    item(volume / "d", "a")
    leave(volume, committed=True)
    before = files_below(volume)
    carry_out(cleanup_task(volume, directories(), mode="DryRun"))
    assert files_below(volume) == before


def test_what_the_journal_does_not_know_stays_in_the_trash(volume: Path) -> None:
    item(volume / "d", "a")
    leave(volume, committed=True)
    journal = volume / ".housekeeper/trash/journal"
    journal.write_bytes(b"")
    result = carry_out(cleanup_task(volume, directories()))
    assert result.outcome == "Succeeded"
    assert "what no journal tells of" in counters(result).notes[0]
    assert len(trashed(volume)) == 2


def test_half_a_line_of_the_journal_is_as_if_it_were_not_there(volume: Path) -> None:
    item(volume / "d", "a")
    leave(volume, committed=True)
    with open(volume / ".housekeeper/trash/journal", "ab") as file:
        file.write(b'{"entry":"x","sta')
    assert counters(carry_out(cleanup_task(volume, directories()))).removed == 1
    assert trashed(volume) == set()


def test_names_of_any_bytes_come_back(volume: Path) -> None:
    name = b"\xff\nrun"
    os.mkdir(os.fsencode(volume) + b"/" + name)
    write(os.fsencode(volume) + b"/" + name + b"/\xfe", days=OLD)
    with VolumeRoot.open(str(volume)) as root, Trash.open(root, "killed", create=True) as trash:
        (entry,) = trash.announce([Coming(name, os.stat(os.fsencode(volume) + b"/" + name).st_ino)])
        trash.take(root.fd, name, entry)
    carry_out(cleanup_task(volume, directories(older="50d")))
    assert name + b"/\xfe" in files_below(volume)


def test_sigterm_while_it_is_emptied_is_finished_by_the_next_run_and_counted_once(volume: Path) -> None:
    item(volume / "d", *map(str, range(50)))
    stop = Stop()
    result = None
    emptied = Emptying._unlink

    def unlink(self: Emptying, *arguments: object) -> None:
        emptied(self, *arguments)
        stop.now("Cancelled")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Emptying, "_unlink", unlink)
        result = carry_out(cleanup_task(volume, directories()), stop=stop)
    assert (result.outcome, counters(result).removed, left(volume)) == ("Cancelled", 1, set())
    again = counters(carry_out(cleanup_task(volume, directories())))
    assert (again.removed, trashed(volume)) == (0, set())
    assert again.bytes_freed > 40 * 8000

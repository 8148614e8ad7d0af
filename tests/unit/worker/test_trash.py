"""Directories on their way out: one rename, then emptied; what does not fit the plan any more comes back."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from housekeeper_api.task import Rule
from housekeeper_worker.audit import Audit
from housekeeper_worker.cleanup import candidates, lines
from housekeeper_worker.retention.select import Selector
from housekeeper_worker.stop import Stop
from housekeeper_worker.survey import Survey
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume import directory_removal
from housekeeper_worker.volume.contents import Look, inspect
from housekeeper_worker.volume.emptying import Emptying
from housekeeper_worker.volume.removal import Removal
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.trash import Coming, Trash
from tests.unit.worker.builders import (
    OLD,
    age,
    as_user,
    carry_out,
    cleanup_task,
    counters,
    directories,
    files_below,
    item,
    write,
)
from tests.unit.worker.openers import holding
from tests.unit.worker.test_directories import left, trashed


def interrupted(
    volume: Path, change: Callable[[], object], one: Rule | None = None, *, prefer_fallback: bool = False
) -> Tally:
    """Plan directories that are old, then `change`, then carry the plan out."""
    now = time.time_ns()
    task = cleanup_task(volume, one or directories())
    assert task.cleanup is not None
    rules = task.cleanup.rules
    each = lines(task, task.cleanup, now)
    together = candidates(task, task.cleanup, each)
    with VolumeRoot.open(str(volume), prefer_fallback=prefer_fallback) as root:
        root.exclusive = True
        survey = Survey(root, Selector(rules), each, ["30d"], together, "0s", now, Stop(), rules=rules)
        survey.run(b"")
        tick(volume)
        change()
        audit = Audit(None, "run")
        Removal(
            root, survey.plan, survey.tally, audit, Stop(), lambda _: "", "Protect", rules=rules, run="run", now_ns=now
        ).carry_out()
        return survey.tally


def tick(volume: Path) -> None:
    """Let the file system's clock move on, without which a change cannot be told from what was before."""
    clock = volume.parent / "clock"
    clock.touch()
    first = clock.stat().st_ctime_ns
    while clock.stat().st_ctime_ns - first < 20_000_000:
        clock.touch()


CHANGES: dict[str, tuple[dict[str, int], Callable[[Path], object]]] = {
    "a file written to": ({"changed": 1}, lambda top: write(top / "deep/b", content=b"y")),
    "a new file": ({"changed": 1}, lambda top: write(top / "deep/c")),
    "a new file made old": ({"changed": 1}, lambda top: write(top / "deep/c", days=OLD)),
    "a file removed": ({"changed": 1}, lambda top: os.unlink(top / "deep/b")),
    "a file replaced by one like it": (
        {"changed": 1},
        lambda top: (
            write(top.parent / "new", days=OLD, content=b"x" * 5000),
            os.replace(top.parent / "new", top / "a"),
        ),
    ),
    "a mode changed": ({"changed": 1}, lambda top: os.chmod(top / "deep/b", 0o600)),
    "a marker": ({"marked": 1}, lambda top: write(top / "deep/.nocleanup")),
    "another directory in its place": (
        {"changed": 1},
        lambda top: (os.rename(top, top.parent / "moved"), item(top, "a", "deep/b")),
    ),
    "a link in its place": (
        {"changed": 1},
        lambda top: (os.rename(top, top.parent / "moved"), os.symlink("moved", top)),
    ),
    "gone": ({"gone": 1}, lambda top: os.rename(top, top.parent / "moved")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_since_the_plan_stays(volume: Path, what: str, prefer_fallback: bool) -> None:
    skipped, change = CHANGES[what]
    item(volume / "d", "a", "deep/b")
    changed: set[bytes] = set()

    def act() -> None:
        change(volume / "d")
        changed.update(files_below(volume))

    tally = interrupted(volume, act, prefer_fallback=prefer_fallback)
    assert (tally.removed, tally.skipped()) == (0, skipped)
    assert {path for path in files_below(volume) if not path.startswith(b".housekeeper")} == changed


class _Interfering(Trash):
    """A trash in which something happens right after a rename."""

    act: Callable[[int, bytes], object]

    def take(self, directory: int, name: bytes, entry: object) -> None:
        super().take(directory, name, entry)
        type(self).act(self.fd, entry.name)


@pytest.fixture
def after_rename(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int, bytes], object]], None]:
    """Let something happen between the rename and the second look."""

    def set_up(act: Callable[[int, bytes], object]) -> None:
        monkeypatch.setattr(_Interfering, "act", staticmethod(act), raising=False)
        monkeypatch.setattr(directory_removal, "Trash", _Interfering)

    return set_up


def test_a_file_that_is_opened_between_the_looks_brings_the_directory_back(
    volume: Path, after_rename: Callable[[Callable[[int, bytes], object]], None]
) -> None:
    item(volume / "d", "a", "deep/b")
    held: list[int] = []
    after_rename(lambda trash, name: held.append(os.open(name + b"/deep/b", os.O_RDONLY, dir_fd=trash)))
    done = counters(carry_out(cleanup_task(volume, directories())))
    os.close(held[0])
    assert (done.removed, done.skipped) == (0, {"inUse": 1})
    assert files_below(volume / "d") == {b"a", b"deep/b"}
    assert trashed(volume) == set()


def test_a_file_that_comes_between_the_looks_brings_the_directory_back(
    volume: Path, after_rename: Callable[[Callable[[int, bytes], object]], None]
) -> None:
    item(volume / "d", "a", "deep/b")
    after_rename(lambda trash, name: os.close(os.open(name + b"/deep/c", os.O_CREAT | os.O_WRONLY, dir_fd=trash)))
    done = counters(carry_out(cleanup_task(volume, directories())))
    assert (done.removed, done.skipped) == (0, {"changed": 1})
    assert files_below(volume / "d") == {b"a", b"deep/b", b"deep/c"}


def test_what_cannot_come_back_is_told_and_not_removed(
    volume: Path, after_rename: Callable[[Callable[[int, bytes], object]], None]
) -> None:
    item(volume / "d", "a")
    held: list[int] = []

    def act(trash: int, name: bytes) -> None:
        held.append(os.open(name + b"/a", os.O_RDONLY, dir_fd=trash))
        write(volume / "d/other")

    after_rename(act)
    result = carry_out(cleanup_task(volume, directories()))
    assert result.outcome == "PartiallySucceeded"
    assert "could not be brought back" in counters(result).errors[0]
    assert files_below(volume / "d") == {b"other"}
    # Nobody may take it for rubbish while it is open; afterwards it is finished, for its place is taken.
    again = carry_out(cleanup_task(volume, directories()))
    assert (again.outcome, counters(again).removed) == ("PartiallySucceeded", 0)
    os.close(held[0])
    last = counters(carry_out(cleanup_task(volume, directories())))
    assert last.removed == 1
    assert last.bytes_freed > 5000
    assert trashed(volume) == set()


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
        trash.take(root.fd, b"d", entry)
        write(volume / "d", content=b"precious")
        with pytest.raises(NotADirectoryError):
            trash.bring_back(entry)
        assert os.lstat(entry.name, dir_fd=trash.fd)
    assert (volume / "d").read_bytes() == b"precious"


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


def test_a_foreign_trash_is_not_used(open_volume: Path) -> None:
    item(open_volume / "d", "a")
    for path in (open_volume, open_volume / "d"):
        os.chown(path, 65532, 65532)
    (open_volume / ".housekeeper").mkdir()

    def act() -> list[object]:
        result = carry_out(cleanup_task(open_volume, directories()))
        return [counters(result).removed, counters(result).skipped, result.message]

    removed, skipped, message = as_user(65532, act)
    assert (removed, skipped) == (0, {"permission": 1})
    assert "belongs to uid 0" in message
    assert left(open_volume) == {"d"}


def test_a_file_that_cannot_be_removed_keeps_the_whole(open_volume: Path) -> None:
    item(open_volume / "immutable", "a", "deep/b")
    item(open_volume / "read-only", "a", "deep/b")
    item(open_volume / "sticky", "a", "deep/b")
    for directory, _, names in os.walk(open_volume):
        for name in (".", *names):
            os.chown(os.path.join(directory, name), 65532, 65532)
    os.chmod(open_volume / "read-only/deep", 0o555)  # noqa: S103
    os.chown(open_volume / "sticky/deep", 0, 0)
    os.chmod(open_volume / "sticky/deep", 0o1777)  # noqa: S103
    subprocess.run(["chattr", "+i", open_volume / "immutable/deep/b"], check=True)

    def act() -> list[object]:
        result = carry_out(cleanup_task(open_volume, directories()))
        return [result.outcome, counters(result).removed, counters(result).skipped]

    assert as_user(65532, act) == ["PartiallySucceeded", 0, {"immutable": 1, "permission": 2}]
    assert len(files_below(open_volume) - {b".housekeeper/trash/journal"}) == 6


def test_a_read_only_parent_keeps_it(open_volume: Path) -> None:
    item(open_volume / "above/d", "a")
    for path in (open_volume, open_volume / "above/d", open_volume / "above/d/a"):
        os.chown(path, 65532, 65532)
    age(open_volume, OLD)

    def act() -> list[object]:
        result = carry_out(cleanup_task(open_volume, directories(["above/*"])))
        return [counters(result).skipped, counters(result).errors]

    skipped, errors = as_user(65532, act)
    assert skipped == {"permission": 1}
    assert "above" in errors[0]
    assert files_below(open_volume / "above") == {b"d/a"}


def test_trees_two_thousand_levels_deep_go(open_volume: Path, prefer_fallback: bool) -> None:
    fd = os.open(open_volume, os.O_RDONLY)
    for name in ["top", *["level"] * 2000]:
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        os.close(fd)
        fd = below
    os.close(fd)
    task = cleanup_task(open_volume, directories())
    done = counters(carry_out(task, later=OLD, prefer_fallback=prefer_fallback))
    assert (done.removed, left(open_volume), trashed(open_volume)) == (1, set(), set())


def test_files_with_names_elsewhere_free_nothing_and_the_next_directory_goes_in_the_same_run(volume: Path) -> None:
    """As backups do that link what did not change: each directory has a name of the same file."""
    item(volume / "day-1", "big", "own")
    for number in (2, 3):
        item(volume / f"day-{number}", "own")
        os.link(volume / "day-1/big", volume / f"day-{number}/big")
    age(volume, OLD)
    age(volume / "day-3", 0)
    os.utime(volume / "day-3/big", (0, 0))
    age(volume / "day-3", 1)
    one = directories()
    # The shared file's times are those of day 3 too, so that it counts as old everywhere.
    os.utime(volume / "day-1/big", (1_000_000_000,) * 2)
    dry = counters(carry_out(cleanup_task(volume, one, mode="DryRun")))
    done = counters(carry_out(cleanup_task(volume, one)))
    assert (done.removed, done.skipped, left(volume)) == (2, {}, {"day-3"})
    assert done.bytes_freed == dry.bytes_freed == 2 * (4096 + 8192)
    assert os.stat(volume / "day-3/big").st_nlink == 1


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


def test_an_attacker_who_swaps_the_directory_for_a_link_wins_nothing(volume: Path, prefer_fallback: bool) -> None:
    """A tree outside looks exactly like the one inside, and takes its place again and again while runs work."""
    outside, inside, aside = volume.parent / "outside", volume / "run", volume / "aside"
    item(outside, *map(str, range(20)))
    attacker = os.fork()
    if attacker == 0:
        while True:
            with contextlib.suppress(OSError):
                os.rename(inside, aside)
                os.symlink(outside, inside)
                os.unlink(inside)
                os.rename(aside, inside)
    removed = 0
    try:
        for number in range(60):
            made = volume / f"made-{number}"
            item(made, *map(str, range(20)))
            with contextlib.suppress(OSError):
                os.rename(made, inside)
            one = directories(["run", "aside", "made-*"])
            removed += counters(carry_out(cleanup_task(volume, one), prefer_fallback=prefer_fallback)).removed
    finally:
        os.kill(attacker, signal.SIGKILL)
        _, status = os.waitpid(attacker, 0)
    assert os.WIFSIGNALED(status), "the attacker gave up"
    assert removed > 0
    assert len(files_below(outside)) == 20


def test_a_lock_by_another_program_on_the_parent_keeps_it(volume: Path) -> None:
    item(volume / "above/d", "a")
    age(volume / "above", OLD)
    with holding(volume / "above", "shared lock"):
        assert counters(carry_out(cleanup_task(volume, directories(["above/*"])))).skipped == {"locked": 1}


def test_a_fingerprint_does_not_grow_with_the_tree(volume: Path) -> None:
    item(volume / "d", *map(str, range(300)))
    with VolumeRoot.open(str(volume)) as root:
        top = root.open_below(root.fd, b"d")
        contents = inspect(root, top, Look(), Stop())
        os.close(top)
    assert (contents.count, contents.links) == (301, {})

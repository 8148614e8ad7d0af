"""Directories on their way out: one rename, then emptied; what does not fit the plan any more comes back."""

from __future__ import annotations

import contextlib
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
from housekeeper_worker.volume.removal import Removal
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.trash import Trash
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

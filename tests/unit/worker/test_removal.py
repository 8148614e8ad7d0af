"""Between plan and removal: whatever changed stays, and no planted link is followed."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from housekeeper_worker.audit import Audit
from housekeeper_worker.errors import DiskFailing
from housekeeper_worker.retention.decide import Lines
from housekeeper_worker.retention.select import Selector
from housekeeper_worker.stop import Stop
from housekeeper_worker.survey import Survey
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.batches import Reader, cuts
from housekeeper_worker.volume.faults import Fault, classify
from housekeeper_worker.volume.outcomes import Outcomes
from housekeeper_worker.volume.removal import BATCH, Removal
from housekeeper_worker.volume.root import VolumeRoot
from tests.unit.worker.builders import DAY, OLD, carry_out, cleanup_task, files_below, rule, write


def interrupted(volume: Path, change: Callable[[], None], *, prefer_fallback: bool = False) -> Tally:
    """Plan everything older than 1970-01-02 but for what is younger, then `change`, then carry the plan out."""
    now = time.time_ns()
    with VolumeRoot.open(str(volume), prefer_fallback=prefer_fallback) as root:
        survey = Survey(root, Selector([rule()]), [Lines(now - DAY, now)], ["1d"], {}, "0s", now, Stop())
        survey.run(b"")
        change()
        Removal(root, survey.plan, survey.tally, Audit(None, "run"), Stop(), lambda _: "", "Protect").carry_out()
        return survey.tally


def overwrite(path: Path) -> Callable[[], None]:
    return lambda: write(path, content=b"new content")


def test_a_file_that_was_written_to_stays(volume: Path, prefer_fallback: bool) -> None:
    write(volume / "d/f", days=OLD)
    tally = interrupted(volume, overwrite(volume / "d/f"), prefer_fallback=prefer_fallback)
    assert (tally.removed, tally.skipped()) == (0, {"changed": 1})


def test_a_file_written_to_whose_time_was_set_back_stays(volume: Path) -> None:
    write(volume / "d/f", days=OLD)
    times = os.stat(volume / "d/f")

    def change() -> None:
        write(volume / "d/f", content=b"y")
        os.utime(volume / "d/f", ns=(times.st_atime_ns, times.st_mtime_ns))

    assert interrupted(volume, change).skipped() == {"changed": 1}


def test_another_file_of_that_name_stays(volume: Path) -> None:
    write(volume / "d/f", days=OLD)
    write(volume / "d/g", days=1e-9)
    assert interrupted(volume, lambda: os.replace(volume / "d/g", volume / "d/f")).skipped() == {"changed": 1}


def test_a_link_in_the_place_of_the_file_stays(volume: Path) -> None:
    write(volume / "d/f", days=OLD)

    def change() -> None:
        os.unlink(volume / "d/f")
        os.symlink("/etc/passwd", volume / "d/f")

    assert interrupted(volume, change).skipped() == {"changed": 1}
    assert os.path.lexists(volume / "d/f")


def test_a_file_that_is_gone_already_is_no_error(volume: Path) -> None:
    write(volume / "d/f", days=OLD)
    tally = interrupted(volume, lambda: os.unlink(volume / "d/f"))
    assert (tally.skipped(), tally.error_count) == ({"gone": 1}, 0)


@pytest.mark.parametrize("depth", ["d", "d/e"])
def test_a_link_in_the_place_of_a_directory_is_not_followed(volume: Path, depth: str, prefer_fallback: bool) -> None:
    """The very files that were planned are behind the link, so that only the walk itself can refuse."""
    write(volume / "d/e/f", days=OLD)
    outside = volume.parent / "outside"

    def change() -> None:
        os.rename(volume / depth, outside)
        os.symlink(outside, volume / depth)

    tally = interrupted(volume, change, prefer_fallback=prefer_fallback)
    assert (tally.removed, tally.skipped(), tally.error_count) == (0, {"changed": 1}, 0)
    assert len(files_below(outside)) == 1


def test_a_directory_that_is_gone_takes_its_files_with_it(volume: Path) -> None:
    write(volume / "d/f", days=OLD)
    write(volume / "d/g", days=OLD)
    assert interrupted(volume, lambda: os.rename(volume / "d", volume.parent / "x")).skipped() == {"gone": 2}


def test_a_hard_link_that_somebody_adds_stays(volume: Path) -> None:
    write(volume / "d/f", days=OLD)
    assert interrupted(volume, lambda: os.link(volume / "d/f", volume / "d/g")).skipped() == {"changed": 1}


def test_an_attacker_who_swaps_directories_for_links_wins_nothing(volume: Path, prefer_fallback: bool) -> None:
    """A tree outside looks exactly like the one inside, and takes its place again and again while runs work."""
    outside = volume.parent / "outside"
    for number in range(40):
        write(outside / f"d/f{number}", days=OLD)
    (volume / "d").mkdir()
    attacker = os.fork()
    if attacker == 0:
        inside, aside = volume / "d", volume / "aside"
        try:
            while True:
                os.rename(inside, aside)
                os.symlink(outside / "d", inside)
                os.unlink(inside)
                os.rename(aside, inside)
        finally:
            os._exit(1)
    try:
        for _ in range(40):
            for number in range(40):
                try:
                    at = os.open(volume / "d", os.O_DIRECTORY | os.O_NOFOLLOW)
                except OSError:
                    continue
                os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY, dir_fd=at))
                os.utime(f"f{number}", (0, 0), dir_fd=at)
                os.close(at)
            carry_out(cleanup_task(volume), prefer_fallback=prefer_fallback)
    finally:
        os.kill(attacker, signal.SIGKILL)
        _, status = os.waitpid(attacker, 0)
    assert os.WIFSIGNALED(status), "the attacker gave up"
    assert len(files_below(outside)) == 40


def test_input_output_errors_in_a_row_stop_the_run(volume: Path) -> None:
    for number in range(20):
        write(volume / f"f{number}", days=OLD)
    tally = Tally()
    with VolumeRoot.open(str(volume)) as root:
        survey = Survey(root, Selector([rule()]), [Lines(2**62, 2**62)], ["1d"], {}, "0s", 0, Stop())
        survey.run(b"")
        outcomes = Outcomes(root, tally, lambda _: "", survey.plan.links, audited=False, looks=True)
        ((share,),) = map(Reader(survey.plan).batch, cuts(survey.plan, BATCH))
        place = share.records.names.index(b"f1")
        for _ in range(5):
            assert not tally.stopped_by_fault
            outcomes.stayed(OSError(errno.EIO, "Input/output error"), Fault.IO, share, place)
    assert "5 I/O errors in a row, the last at f1" in tally.stopped_by_fault
    assert tally.faults == {Fault.IO: 5}


def test_input_output_errors_while_looking_stop_the_run_before_anything_goes(volume: Path) -> None:
    with VolumeRoot.open(str(volume)) as root:
        survey = Survey(root, Selector([rule()]), [Lines(0, 0)], ["1d"], {}, "0s", 0, Stop())
        for number in range(4):
            survey.on_directory_error(b"d%d" % number, OSError(errno.EIO, "Input/output error"))
        with pytest.raises(DiskFailing, match="5 I/O errors, the last at d4"):
            survey.on_directory_error(b"d4", OSError(errno.EIO, "Input/output error"))


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.ENOENT, Fault.GONE),
        (errno.EACCES, Fault.PERMISSION),
        (errno.EPERM, Fault.PERMISSION),
        (errno.EROFS, Fault.READ_ONLY),
        (errno.EIO, Fault.IO),
        (errno.ENOSPC, Fault.NO_SPACE),
        (errno.ENAMETOOLONG, Fault.NAME),
        (errno.EBUSY, Fault.IN_USE),
        (errno.ELOOP, Fault.CHANGED),
        (errno.ESTALE, Fault.CHANGED),
        (errno.EHOSTDOWN, Fault.OTHER),
    ],
)
def test_errors_have_classes(number: int, fault: Fault) -> None:
    assert classify(OSError(number, "")) is fault


def test_each_class_of_error_gets_an_example_though_another_is_frequent() -> None:
    tally = Tally()
    for number in range(100):
        if tally.wants_error(Fault.PERMISSION):
            tally.add_error(f"permission {number}")
    assert tally.wants_error(Fault.IO)
    tally.add_error("i/o")
    assert tally.error_count == 101
    assert tally.errors == ["permission 0", "permission 1", "permission 2", "permission 3", "i/o"]
    assert not tally.wants_error(Fault.GONE)

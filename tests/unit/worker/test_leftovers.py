"""What a killed session leaves is found by the next one; what belongs to somebody who lives is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

from tests import leftovers
from tests.unit.worker.builders import write
from tests.unit.worker.confinement import memory_group, remove_left_groups


def a_killed_session(place: Path) -> Path:
    """What a process that was killed has left in `place`: files, a mount, and one that is immutable."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        made = tempfile.mkdtemp(prefix=leftovers.prefix("bench"), dir=place)
        write(Path(made, "held"))
        Path(made, "mount").mkdir()
        subprocess.run(["chattr", "+i", Path(made, "held")], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", Path(made, "mount")], check=True)
        os.write(writer, made.encode())
        signal.pause()
    made = Path(os.read(reader, 4096).decode())
    assert leftovers.remove(place) == []  # it lives
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    return made


def test_what_a_killed_session_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    mine = Path(tempfile.mkdtemp(prefix=leftovers.prefix(), dir=tmp_path))
    for name in ("housekeeper-test-abc", "housekeeper-images-1-2-x", "other"):
        (tmp_path / name).mkdir()
    left = a_killed_session(tmp_path)
    assert left.exists()
    assert leftovers.remove(tmp_path) == [left]
    assert {path.name for path in tmp_path.iterdir()} == {
        mine.name,
        "housekeeper-test-abc",
        "housekeeper-images-1-2-x",
        "other",
    }
    assert str(left) not in Path("/proc/self/mountinfo").read_text()


def test_a_number_that_was_given_again_is_another_process() -> None:
    assert not leftovers.is_left(leftovers.prefix())
    assert leftovers.is_left(f"housekeeper-test-{os.getpid()}-1-x")
    assert not leftovers.is_left("housekeeper-test-x")


def test_groups_of_killed_sessions_are_removed() -> None:
    mine = memory_group()
    if mine is not None:
        left = mine.with_name(f"housekeeper-test-{os.getpid()}-1")
        left.mkdir()
        remove_left_groups()
        assert mine.exists()
        assert not left.exists()

"""A standard output that is full, closed, or read by nobody any more, and what a run tells then."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.worker.builders import OLD, users_files, write
from tests.unit.worker.test_command_line import HOUSEKEEPER, POLICY, housekeeper

FULL = "housekeeper: standard output cannot be written: No space left on device"
CLOSED = "housekeeper: standard output cannot be written: Bad file descriptor"
OUTPUTS = {">/dev/full": FULL, ">&-": CLOSED}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("MODE", "Enforce") + "  brakes: {maxPercent: 100}\n")
    return path


def shell(line: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A line of the shell in which $0 is the command line."""
    return subprocess.run(["sh", "-c", line, HOUSEKEEPER, *arguments], capture_output=True, text=True, check=False)


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Standard error without the log."""
    return [line for line in done.stderr.splitlines() if not line.startswith("{")]


@pytest.mark.parametrize("redirection", OUTPUTS)
@pytest.mark.parametrize("output", ["json", "table"])
@pytest.mark.parametrize("count", [1, 3000], ids=["which is short", "which is long"])
def test_a_result_that_cannot_be_printed_is_told_in_one_line(
    policy: Path, volume: Path, redirection: str, output: str, count: int
) -> None:
    for number in range(count):
        write(volume / f"{number}.dump", days=OLD)
    what = "; the run ended as Succeeded: "
    line = f'"$0" COMMAND "$1" --root "$2" -o {output} {redirection}'
    done = shell(line.replace("COMMAND", "plan"), policy, volume)
    assert (done.returncode, len(told(done))) == (1, 1)
    assert told(done)[0].startswith(f"{OUTPUTS[redirection]}{what}would remove {count} of {count} selected files")
    done = shell(line.replace("COMMAND", "run"), policy, volume)
    assert (done.returncode, len(told(done))) == (1, 1)
    assert told(done)[0].startswith(f"{OUTPUTS[redirection]}{what}removed {count} of {count} selected files")
    assert users_files(volume) == set()


@pytest.mark.parametrize("redirection", OUTPUTS)
def test_nor_is_there_one_of_the_release(redirection: str) -> None:
    done = shell(f'"$0" --version {redirection}')
    assert (done.returncode, told(done)) == (1, [OUTPUTS[redirection]])


@pytest.mark.parametrize("redirection", OUTPUTS)
@pytest.mark.parametrize("arguments", ["plans --root /", "--help", "plan --days y"])
def test_nor_is_there_a_traceback_of_anything_else(redirection: str, arguments: str) -> None:
    done = shell(f'"$0" {arguments} -o json {redirection}')
    assert (done.returncode, told(done)[-1]) == (1, OUTPUTS[redirection])
    assert "Traceback" not in done.stderr


def test_a_held_run_whose_result_nobody_gets_still_says_how_to_approve_it(policy: Path, volume: Path) -> None:
    policy.write_text(policy.read_text().replace("maxPercent: 100", "maxItems: 0"))
    write(volume / "old.dump", days=OLD)
    done = shell('"$0" run "$1" --root "$2" >&-', policy, volume)
    approve, lost = told(done)
    assert approve.startswith("housekeeper: held; to carry out exactly this plan: housekeeper run ")
    assert (done.returncode, lost.startswith(f"{CLOSED}; the run ended as Held: ")) == (1, True)


def test_what_is_logged_and_printed_never_goes_into_a_file_of_the_run(policy: Path, volume: Path) -> None:
    """A file that is opened while a standard stream is closed would get its number."""
    write(volume / "old.dump", days=OLD)
    state, audit = policy.parent / "state.json", policy.parent / "audit"
    shell('"$0" run "$1" --root "$2" --state "$3" --audit "$4" <&- >&- 2>&-', policy, volume, state, audit)
    assert users_files(volume) == set()
    assert json.loads(state.read_text())["runs"][0]["removed"] == 1
    assert housekeeper("verify-audit", audit).returncode == 0


def test_who_has_seen_enough_of_a_stored_plan_gets_no_error(policy: Path, volume: Path) -> None:
    policy.write_text(policy.read_text().replace("maxPercent: 100", "maxItems: 0"))
    for number in range(3000):
        write(volume / f"{number}.dump", days=OLD)
    held = housekeeper("run", policy, "--root", volume, "-o", "json", "--audit", "/dev/null")
    digest = json.loads(held.stdout)["cleanup"]["planDigest"]
    for output in ("json", "table"):
        done = shell(f'"$0" plans --root "$1" {digest} -o {output} | head -c 10', volume)
        assert (done.stderr, len(done.stdout)) == ("", 10)

"""The file with the numbers of past runs, and the command line that reads it before a run and writes it after."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.builders import OLD, files_below, write

HOUSEKEEPER = Path(sys.executable).with_name("housekeeper")
POLICY = """\
apiVersion: housekeeper.dev/v1alpha1
kind: CleanupPolicy
metadata: {name: logs, namespace: shop}
spec:
  mode: Enforce
  settleTime: 0s
  target: {volume: {persistentVolumeClaim: {claimName: data}}}
  brakes: {maxPercent: 100}
  rules:
  - {name: old, select: {include: ["**/*.log"]}, removeOlderThan: 30d}
"""


def housekeeper(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HOUSEKEEPER, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy of logs.yaml"
    path.write_text(POLICY)
    return path


def fill(volume: Path, count: int) -> None:
    for number in range(count):
        write(volume / f"{number}.log", days=OLD)


def run(policy: Path, volume: Path, state: Path, *more: str) -> tuple[int, Any]:
    done = housekeeper("run", policy, "--root", volume, "--state", state, "--audit", os.devnull, "-o", "json", *more)
    return done.returncode, json.loads(done.stdout)


def test_ten_times_the_usual_is_held_and_the_command_that_approves_it_works(policy: Path, volume: Path) -> None:
    state = policy.parent / "state.json"
    write(volume / "young.log")
    for number in range(3):
        fill(volume, 10)
        code, told = run(policy, volume, state)
        assert code == 0
        assert f"(now {number})" in told["cleanup"]["notes"][0]
    fill(volume, 101)
    done = housekeeper("run", policy, "--root", volume, "--state", state, "--audit", os.devnull)
    assert done.returncode == 4
    assert "101 files are more than ten times 10, the median of the last 3 runs" in done.stdout
    assert len(json.loads(state.read_text())["runs"]) == 3  # what is held makes nothing usual
    command = next(line for line in done.stderr.splitlines() if "to carry out exactly this plan: " in line)
    words = shlex.split(command.partition("plan: ")[2])
    approved = housekeeper(*words[1:])
    assert approved.returncode == 0, approved.stderr
    assert "removed 101 of 102 selected files" in approved.stdout
    assert files_below(volume) == {b"young.log"}
    newest = json.loads(state.read_text())["runs"][0]
    assert {name: newest[name] for name in ("scanned", "matched", "planned", "removed")} == {
        "scanned": 102,
        "matched": 102,
        "planned": 101,
        "removed": 101,
    }


def test_an_empty_volume_where_there_was_much_is_held(policy: Path, volume: Path) -> None:
    state = policy.parent / "state.json"
    for number in range(20):
        write(volume / f"{number}.log")
    assert run(policy, volume, state)[0] == 0
    for path in files_below(volume):
        os.unlink(os.fsencode(volume) + b"/" + path)
    code, told = run(policy, volume, state)
    assert (code, told["outcome"]) == (4, "Held")
    assert run(policy, volume, state, "--approve", told["cleanup"]["planDigest"])[0] == 0
    assert run(policy, volume, state)[0] == 0


def test_what_is_in_quarantine_is_nothing_that_the_last_run_left(policy: Path, volume: Path) -> None:
    policy.write_text(POLICY.replace("30d}", "30d, action: Quarantine}") + "  quarantine: {keepFor: 1h}\n")
    state = policy.parent / "state.json"
    fill(volume, 20)
    for quarantined in (20, 0):
        code, told = run(policy, volume, state)
        assert (code, told["cleanup"]["quarantined"]) == (0, quarantined), told["message"]


def test_a_dry_run_left_everything(policy: Path, volume: Path) -> None:
    state = policy.parent / "state.json"
    fill(volume, 20)
    assert run(policy, volume, state, "--dry-run")[0] == 0
    for path in files_below(volume):
        os.unlink(os.fsencode(volume) + b"/" + path)
    code, told = run(policy, volume, state)
    assert (code, "where the last run left 20 files" in told["message"]) == (4, True)


def test_only_the_last_ten_runs_are_kept_and_a_plan_adds_none(policy: Path, volume: Path) -> None:
    state = policy.parent / "state.json"
    document = {
        "version": 1,
        "namespace": "shop",
        "policy": "logs",
        "root": str(volume),
        "runs": [{"timeNs": 20 - n, "scanned": n, "matched": n, "planned": n, "removed": n} for n in range(10)],
    }
    state.write_text(json.dumps(document))
    assert housekeeper("plan", policy, "--root", volume, "--state", state).returncode == 0
    assert json.loads(state.read_text()) == document
    fill(volume, 1)
    assert run(policy, volume, state)[0] == 0
    runs = json.loads(state.read_text())["runs"]
    assert [one["scanned"] for one in runs] == [1, *range(9)]
    assert state.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in state.parent.iterdir()) == ["policy of logs.yaml", "state.json", "volume"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is damaged"),
        ("{}", "is damaged (it is no document of version 1)"),
        ("[]", "is damaged (it is no document of version 1)"),
        ('{"version": 2}', "is damaged (it is no document of version 1)"),
        ('{"version": 1, "namespace": "shop", "policy": "logs", "root": "/", "runs": [{}]}', "is damaged"),
        ('{"version": 1, "namespace": "shop", "policy": "logs", "root": "/", "runs": 3}', "runs is no list"),
        (
            '{"version": 1, "namespace": "shop", "policy": "other", "root": "/", "runs": []}',
            "is about policy shop/other",
        ),
        ("\0", "is damaged"),
        ('{"a":' * 100_000, "is damaged"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_file_that_is_no_state_stops_the_run(policy: Path, volume: Path, text: str, said: str, command: str) -> None:
    state = policy.parent / "state.json"
    state.write_text(text)
    fill(volume, 3)
    done = housekeeper(command, policy, "--root", volume, "--state", state, "-o", "json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["outcome"] == "CouldNotRun"
    assert said in json.loads(done.stdout)["message"]
    assert (state.read_text(), len(files_below(volume))) == (text, 3)


def test_a_state_that_cannot_be_written_stops_the_run_before_it_begins(policy: Path, volume: Path) -> None:
    fill(volume, 3)
    code, told = run(policy, volume, policy.parent / "nowhere/state.json")
    assert (code, told["outcome"]) == (2, "CouldNotRun")
    assert "cannot be written: No such file or directory; nothing was looked at" in told["message"]
    assert len(files_below(volume)) == 3
    # A plan reads it only.
    assert housekeeper("plan", policy, "--root", volume, "--state", policy.parent / "nowhere/s").returncode == 0


def test_what_was_done_is_told_even_if_the_state_is_lost_meanwhile(policy: Path, volume: Path) -> None:
    fill(volume, 3)
    state = policy.parent / "state.json"
    # The audit makes of it what is no state.
    done = housekeeper("run", policy, "--root", volume, "--state", state, "--audit", state, "-o", "json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["outcome"], told["cleanup"]["removed"]) == (1, "Failed", 3)
    assert "is damaged" in told["message"]
    assert "removed 3 of 3" in told["message"]
    assert any("is damaged" in note for note in told["cleanup"]["notes"])
    assert files_below(volume) == set()


def test_a_clock_behind_the_last_run_stops_the_run(policy: Path, volume: Path) -> None:
    state = policy.parent / "state.json"
    fill(volume, 1)
    assert run(policy, volume, state)[0] == 0
    document = json.loads(state.read_text())
    document["runs"][0]["timeNs"] += 3600 * 10**9
    state.write_text(json.dumps(document))
    code, told = run(policy, volume, state)
    assert code == 2
    assert "set the node's clock" in told["message"]


def test_without_a_state_the_brakes_that_need_it_are_off_and_it_is_said(policy: Path, volume: Path) -> None:
    fill(volume, 200)
    done = housekeeper("run", policy, "--root", volume, "--audit", os.devnull)
    assert done.returncode == 0
    assert "note: no numbers of past runs" in done.stdout


def test_held_plans_are_listed_and_shown(policy: Path, volume: Path) -> None:
    policy.write_text(POLICY.replace("{maxPercent: 100}", "{maxItems: 1}"))
    assert "no plans are stored here" in housekeeper("plans", "--root", volume).stdout
    fill(volume, 2)
    write(os.fsencode(volume) + b"/[red]\xff.log", days=OLD)
    write(volume / "young.log")
    assert housekeeper("run", policy, "--root", volume, "--audit", os.devnull).returncode == 4
    (listed,) = json.loads(housekeeper("plans", "--root", volume, "-o", "json").stdout)["plans"]
    assert (listed["policy"], listed["items"], listed["expired"]) == ("logs", 3, False)
    assert "3 files are more than brakes.maxItems 1" in listed["held"]
    table = housekeeper("plans", "--root", volume).stdout
    assert listed["planDigest"] in table
    assert "shop/logs" in table
    shown = json.loads(housekeeper("plans", "--root", volume, listed["planDigest"][:15], "-o", "json").stdout)
    assert [one.get("path") for one in shown["decisions"]] == ["0.log", "1.log", None]
    assert shown["decisions"][0]["reasons"] == ["older than 30d"]
    assert "[red]\\xff.log" in housekeeper("plans", "--root", volume, listed["planDigest"]).stdout
    unknown = housekeeper("plans", "--root", volume, "sha256:zz")
    assert (unknown.returncode, "0 plans of 1" in unknown.stderr) == (2, True)
    (path,) = (volume / ".housekeeper/plans").iterdir()
    os.truncate(path, path.stat().st_size - 1)
    damaged = housekeeper("plans", "--root", volume, listed["planDigest"])
    assert (damaged.returncode, damaged.stdout) == (2, "")
    assert "do not approve it" in damaged.stderr


def test_the_plan_of_a_dry_run_is_stored_where_it_is_told_and_can_be_approved(policy: Path, volume: Path) -> None:
    reports = policy.parent / "reports"
    reports.mkdir()
    fill(volume, 3)
    dry = housekeeper("plan", policy, "--root", volume, "--report", reports, "-o", "json")
    digest = json.loads(dry.stdout)["cleanup"]["planDigest"]
    (listed,) = json.loads(housekeeper("plans", "--root", reports / "shop/logs/plans", "-o", "json").stdout)["plans"]
    assert (listed["planDigest"], listed["held"], listed["mode"]) == (digest, [], "DryRun")
    write(volume / "new.log", days=OLD)
    done = housekeeper("run", policy, "--root", volume, "--report", reports, "--approve", digest, "-o", "json")
    assert done.returncode == 0
    told = json.loads(done.stdout)["cleanup"]
    assert (told["removed"], told["skipped"]) == (3, {"notApproved": 1})


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--mode", "DryRun")])
def test_the_command_that_approves_the_plan_of_a_dry_run_removes(
    policy: Path, volume: Path, options: tuple[str, ...]
) -> None:
    policy.write_text(POLICY.replace("Enforce", "DryRun").replace("{maxPercent: 100}", "{maxItems: 1}"))
    reports = policy.parent / "reports"
    reports.mkdir()
    fill(volume, 3)
    dry = housekeeper("run", policy, "--root", volume, "--report", reports, "--audit", os.devnull, *options)
    assert dry.returncode == 4
    command = next(line for line in dry.stderr.splitlines() if "to carry out exactly this plan: " in line)
    assert housekeeper(*shlex.split(command.partition("plan: ")[2])[1:]).returncode == 0
    assert files_below(volume) == set()

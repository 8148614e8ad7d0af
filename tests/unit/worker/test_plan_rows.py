"""The rows of `plan` and its summary say the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.builders import OLD, age, item, write

HOUSEKEEPER = Path(sys.executable).with_name("housekeeper")
POLICY = """\
apiVersion: housekeeper.dev/v1alpha1
kind: CleanupPolicy
metadata: {name: rows}
spec:
  settleTime: 0s
  brakes: {maxPercent: 100}
  target: {volume: {persistentVolumeClaim: {claimName: data}}}
  rules:
"""
PROFILES = '  - {name: profiles, select: {itemType: Directory, include: ["profile-*"]}, removeOlderThan: 30d}\n'


def housekeeper(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HOUSEKEEPER, *arguments], capture_output=True, text=True, check=False)


def plan(policy: Path, volume: Path, *more: str, code: int = 0) -> str:
    done = housekeeper("plan", policy, "--root", volume, *more)
    assert done.returncode == code, done.stderr
    return done.stdout


def rows(policy: Path, volume: Path) -> dict[str, Any]:
    """The decisions of a plan by path."""
    return {one["path"]: one for one in json.loads(plan(policy, volume, "-o", "json"))["decisions"]}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def test_a_directory_that_is_in_use_is_a_row_that_says_so(policy: Path, volume: Path) -> None:
    policy.write_text(POLICY + PROFILES)
    for name in ("profile-1", "profile-2"):
        item(volume / name, "Cookies")
    os.symlink(f"{os.uname().nodename}-{os.getpid()}", volume / "profile-1/SingletonLock")
    age(volume / "profile-1", OLD)
    told = rows(policy, volume)
    assert (told["profile-1"]["decision"], told["profile-1"]["reasons"]) == ("Keep", ["inUse: a process has it open"])
    assert told["profile-2"]["decision"] == "Remove"
    assert "profile-1" not in plan(policy, volume)


QUARANTINE = """\
  - {name: drafts, select: {include: ["drafts/*"]}, removeOlderThan: 30d, action: Quarantine}
  - {name: logs, select: {include: ["*.log"]}, removeOlderThan: 30d}
  quarantine: {keepFor: 7d}
"""


@pytest.fixture
def drafts_and_logs(policy: Path, volume: Path) -> Path:
    policy.write_text(POLICY + QUARANTINE)
    for name in ("drafts/a", "drafts/b", "c.log"):
        write(volume / name, days=OLD)
    write(volume / "drafts/young")
    return volume


def test_what_would_be_quarantined_does_not_say_that_it_would_be_removed(policy: Path, drafts_and_logs: Path) -> None:
    told = {path: one["decision"] for path, one in rows(policy, drafts_and_logs).items()}
    assert told == {"c.log": "Remove", "drafts/a": "Quarantine", "drafts/b": "Quarantine", "drafts/young": "Keep"}
    table = plan(policy, drafts_and_logs)
    assert [line.split()[:2] for line in table.splitlines()[2:5]] == [
        ["Remove", "c.log"],
        ["Quarantine", "drafts/a"],
        ["Quarantine", "drafts/b"],
    ]


def test_a_held_plan_tells_how_many_go_in_which_way(policy: Path, drafts_and_logs: Path) -> None:
    text = policy.read_text().replace("maxPercent: 100", "maxItems: 0")
    policy.write_text(text)
    held = housekeeper("run", policy, "--root", drafts_and_logs, "--mode", "Enforce", "-o", "json")
    assert held.returncode == 4
    result = json.loads(held.stdout)
    assert "the plan would remove 1 and quarantine 2 of 4 selected files" in result["message"]
    digest = result["cleanup"]["planDigest"]
    table = housekeeper("plans", digest, "--root", drafts_and_logs).stdout
    assert ["Quarantine", "drafts/a"] in [line.split()[:2] for line in table.splitlines()]
    assert ": 1 would be removed and 2 quarantined" in table
    told = json.loads(housekeeper("plans", digest, "--root", drafts_and_logs, "-o", "json").stdout)
    assert (told["items"], told["remove"], told["quarantine"]) == (3, 1, 2)
    assert [one["decision"] for one in told["decisions"]] == ["Remove", "Quarantine", "Quarantine"]
    policy.write_text(text.replace('"*.log"', '"*.none"'))
    assert "would quarantine 2 of 3 selected files" in plan(policy, drafts_and_logs, code=4)


NOT_LOOKED_AT = """\
  - {name: runs, select: {itemType: Directory, include: ["runs/*"], exclude: ["**/KEEP"], ignoreIncomplete: true}, \
removeOlderThan: 30d}
  - {name: dumps, select: {include: ["*.dump*"], ignoreIncomplete: true}, removeOlderThan: 30d}
"""


def test_of_what_nobody_looked_at_no_size_and_time_are_shown(policy: Path, volume: Path) -> None:
    policy.write_text(POLICY + NOT_LOOKED_AT)
    for name in ("excluded", "incomplete.part", "old"):
        item(volume / "runs" / name, "KEEP" if name == "excluded" else "log")
    write(volume / "a.dump.part", days=OLD)
    told = rows(policy, volume)
    for path in ("a.dump.part", "runs/excluded", "runs/incomplete.part"):
        one = told[path]
        assert (one["decision"], one["size"], one["bytes"], one["time"]) == ("Keep", None, None, None)
    assert told["runs/old"]["size"] == 5000
    table = plan(policy, volume, "--all")
    assert "1970" not in table
    assert "0 B" not in next(line for line in table.splitlines() if "runs/excluded" in line)

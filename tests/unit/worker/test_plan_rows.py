"""The rows of `plan` and its summary say the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.builders import OLD, age, item

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


def plan(policy: Path, volume: Path, *more: str) -> str:
    command = [HOUSEKEEPER, "plan", policy, "--root", volume, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
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

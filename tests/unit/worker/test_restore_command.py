"""`housekeeper restore`, as a person or a script uses it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.worker.builders import OLD, write
from tests.unit.worker.quarantines import at_place, in_quarantine, quarantines
from tests.unit.worker.test_command_line import housekeeper, one_object

POLICY = """\
apiVersion: housekeeper.dev/v1alpha1
kind: CleanupPolicy
metadata: {name: dumps}
spec:
  mode: Enforce
  settleTime: 0s
  target: {volume: {persistentVolumeClaim: {claimName: data}}}
  rules:
  - name: dumps
    select: {include: ["**/*.dump"]}
    removeOlderThan: 30d
    action: Quarantine
  brakes: {maxPercent: 100}
"""


@pytest.fixture
def run(volume: Path, tmp_path: Path) -> Path:
    """A volume of which a run of the command line has quarantined three files."""
    for path in ("a/1.dump", "a/2.dump", "b/3.dump"):
        write(volume / path, days=OLD)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    done = housekeeper("run", policy, "--root", volume, "-o", "json")
    assert one_object(done)["cleanup"]["quarantined"] == 3, done.stderr
    return volume


def test_without_a_run_it_lists_what_can_be_restored(run: Path) -> None:
    (listed,) = one_object(housekeeper("restore", "--root", run, "-o", "json"))["quarantines"]
    assert listed["quarantine"] == quarantines(run)[0].name
    assert (listed["run"], listed["policy"], listed["items"], listed["bytes"]) == ("command-line", "dumps", 3, 12288)
    assert listed["time"] < listed["until"]
    table = housekeeper("restore", "--root", run)
    assert (table.returncode, listed["until"] in table.stdout) == (0, True)


def test_it_puts_back_what_is_asked_for(run: Path) -> None:
    looked = housekeeper("restore", "command-line", "--root", run, "--dry-run", "-o", "json")
    assert (looked.returncode, one_object(looked)["restore"]["restored"]) == (0, 3)
    assert at_place(run) == set()
    part = housekeeper("restore", "command-line", "--root", run, "--path", "a/1*", "--path", "b/**", "-o", "json")
    assert (part.returncode, one_object(part)["restore"]["restored"]) == (0, 2)
    assert at_place(run) == {b"a/1.dump", b"b/3.dump"}
    write(run / "a/2.dump")
    rest = housekeeper("restore", "command-line", "--root", run)
    assert rest.returncode == 3
    assert "a/2.dump: something else is there now" in rest.stdout
    assert set(in_quarantine(run)) == {b"a/2.dump"}


def test_of_several_runs_of_the_command_line_one_must_be_named(run: Path, tmp_path: Path) -> None:
    write(run / "later.dump", days=OLD)
    housekeeper("run", tmp_path / "policy.yaml", "--root", run)
    names = [quarantine.name for quarantine in quarantines(run)]
    refused = housekeeper("restore", "command-line", "--root", run)
    assert refused.returncode == 64
    assert all(name in refused.stderr for name in names)
    (first,) = [name for name in names if len(list((run / ".housekeeper/quarantine" / name / "0").iterdir())) == 3]
    assert housekeeper("restore", first, "--root", run).returncode == 0
    assert at_place(run) == {b"a/1.dump", b"a/2.dump", b"b/3.dump"}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["no-such-run"], 2, "there is no quarantine of no-such-run on this volume"),
        (["command-line", "--path", "/a"], 64, "begins with a slash"),
        (["command-line", "--path", "WRONG/**", "--path", "1.dump"], 64, "taken by WRONG/**, 1.dump: globs are held"),
        (["command-line", "--path", "WRONG/**", "--dry-run"], 64, "from the volume's root, such as a/"),
    ],
)
def test_what_cannot_be_restored_is_said(run: Path, arguments: list[str], code: int, sentence: str) -> None:
    done = housekeeper("restore", *arguments, "--root", run, "-o", "json")
    assert done.returncode == code
    assert sentence in one_object(done)["message"]
    assert len(in_quarantine(run)) == 3


def test_what_is_back_already_was_asked_for_rightly(run: Path) -> None:
    for restored in (1, 0):
        done = housekeeper("restore", "command-line", "--root", run, "--path", "a/1*", "-o", "json")
        assert (done.returncode, one_object(done)["restore"]["restored"]) == (0, restored)


def test_the_audit_goes_where_it_is_told(run: Path, tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    housekeeper("restore", "command-line", "--root", run, "--audit", audit)
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert sum(line["event"] == "restored" for line in lines) == 3


def test_a_volume_without_a_quarantine_has_an_empty_list(volume: Path) -> None:
    done = housekeeper("restore", "--root", volume, "-o", "json")
    assert (done.returncode, one_object(done)) == (0, {"quarantines": []})
    assert os.listdir(volume) == []

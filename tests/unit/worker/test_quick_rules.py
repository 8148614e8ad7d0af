"""Quick rules are a policy file in other words; `status` tells of the last run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.worker.builders import OLD, files_below, write
from tests.unit.worker.test_command_line import POLICY, housekeeper, one_object


@pytest.fixture
def logs(volume: Path) -> Path:
    for number in range(3):
        write(volume / f"app/old-{number}.log", days=OLD + number)
    for number in range(4):
        write(volume / f"app/young-{number}.log", days=number)
    write(volume / "keep/old.log", days=OLD)
    write(volume / "other.txt", days=OLD)
    return volume


def decided(root: Path, *arguments: str | Path) -> Any:
    told = one_object(housekeeper("plan", *arguments, "--root", root, "-o", "json"))
    return sorted((one["path"], one["decision"], one["reasons"]) for one in told["decisions"])


@pytest.mark.parametrize(
    ("options", "rule", "spec"),
    [
        (["--days", "30"], {"select": {"include": ["**"]}, "removeOlderThan": "30d"}, {}),
        (
            ["--days", "30", "--include", "**/*.log", "--exclude", "keep/**", "--keep", "5"],
            {
                "select": {"include": ["**/*.log"], "exclude": ["keep/**"]},
                "removeOlderThan": "30d",
                "keep": {"last": 5},
            },
            {},
        ),
        (
            ["--keep", "1", "--group-by", "(?P<where>[a-z]+)/.*", "--time-zone", "Europe/Berlin"],
            {"select": {"include": ["**"]}, "groupBy": "(?P<where>[a-z]+)/.*", "keep": {"last": 1}},
            {"timeZone": "Europe/Berlin"},
        ),
    ],
)
def test_quick_rules_decide_as_the_same_policy_file_does(
    tmp_path: Path, logs: Path, options: list[str], rule: dict[str, Any], spec: dict[str, Any]
) -> None:
    document = yaml.safe_load(POLICY.replace("MODE", "DryRun"))
    document["spec"] |= {"rules": [{"name": "quick-rules"} | rule], "settleTime": "10m"} | spec
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump(document))
    assert decided(logs, *options) == decided(logs, policy)


def test_quick_rules_are_a_dry_run_without_force(logs: Path) -> None:
    for more in ([], ["--dry-run"]):
        told = one_object(housekeeper("run", "--root", logs, "--days", "30", "-o", "json", *more))
        assert told["mode"] == "DryRun"
    assert len(files_below(logs)) == 9


def test_force_removes_and_the_brakes_hold(logs: Path) -> None:
    # The ctime of files that were just made is young, so settle time leaves all of them alone: what force must not.
    settling = one_object(housekeeper("run", "--root", logs, "--days", "30", "--force", "-o", "json"))
    assert (settling["mode"], settling["cleanup"]["removed"]) == ("Enforce", 0)
    assert settling["cleanup"]["skipped"] == {"settling": 5}
    held = one_object(housekeeper("plan", "--root", logs, "--days", "30", "--max-percent", "0", "-o", "json"))
    assert held["outcome"] == "Succeeded"
    assert len(files_below(logs)) == 9


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["POLICY", "--days", "3"], "exclude each other"),
        (["POLICY", "--force"], "exclude each other"),
        (["POLICY", "--dry-run", "--mode", "Enforce"], "exclude each other"),
        (["--days", "3", "--dry-run", "--force"], "exclude each other"),
        (["--days", "3", "--mode", "Enforce"], "--mode is for a policy file"),
        ([], "write a POLICY.yaml"),
        (["--include", "*.log"], "write a POLICY.yaml"),
        (["--days", "-1"], "--days"),
        (["--days", "0"], "--days"),
        (["--days", "3", "--include", "[z-a]"], "the wrong way round"),
        (["--keep", "3", "--group-by", "(?P<a>"], "spec.rules[0].groupBy"),
        (["--days", "3", "--time-zone", "Mars/Olympus"], "spec.timeZone"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, logs: Path, arguments: list[str], sentence: str) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("MODE", "DryRun"))
    asked = [str(policy) if argument == "POLICY" else argument for argument in arguments]
    done = housekeeper("run", *asked, "--root", logs)
    assert done.returncode == 64
    assert sentence in done.stderr
    assert len(files_below(logs)) == 9


def test_status_tells_of_the_last_run_on_a_root(tmp_path: Path, logs: Path) -> None:
    assert housekeeper("status", "--root", logs).returncode == 2
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("MODE", "Enforce").replace("*.dump", "*.log") + "  brakes: {maxPercent: 100}\n")
    audit = tmp_path / "audit"
    ran = one_object(housekeeper("run", policy, "--root", logs, "--audit", audit, "-o", "json"))
    told = one_object(housekeeper("status", "--root", logs, "-o", "json"))
    assert (told["policy"], told["mode"], told["outcome"], told["removed"]) == ("dumps", "Enforce", "Succeeded", 3)
    assert told["audit"] == ran["cleanup"]["audit"]
    assert told["nextRunTime"] > told["ended"]
    assert housekeeper("verify-audit", audit, "--head", told["audit"]["head"]).returncode == 0
    assert "Succeeded: removed 3" in housekeeper("status", "--root", logs).stdout


def test_status_tells_of_a_run_that_could_not_be(tmp_path: Path, volume: Path) -> None:
    state = tmp_path / "state.json"
    assert housekeeper("run", "--root", volume, "--days", "3", "--state", state).returncode == 0
    runs = json.loads(state.read_text())["runs"]
    volume.rename(tmp_path / "elsewhere")
    done = housekeeper("run", "--root", volume, "--days", "3", "--state", state)
    assert done.returncode == 2
    told = one_object(housekeeper("status", "--state", state, "-o", "json"))
    assert told["outcome"] == "CouldNotRun"
    assert "does not exist" in told["message"]
    assert "nextRunTime" not in told
    assert json.loads(state.read_text())["runs"] == runs != []


@pytest.mark.parametrize(("content", "code"), [("{", 2), ("[]", 2), ('{"version": 9}', 2), ('{"version": 1}', 2)])
def test_a_state_that_is_none_is_told(tmp_path: Path, content: str, code: int) -> None:
    state = tmp_path / "state.json"
    state.write_text(content)
    done = housekeeper("status", "--state", state)
    assert (done.returncode, done.stdout) == (code, "")
    assert str(state) in done.stderr


def test_status_wants_to_know_of_what(tmp_path: Path) -> None:
    assert housekeeper("status").returncode == 64

"""`housekeeper`, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from housekeeper_api.version import RELEASE
from tests.unit.worker.builders import OLD, cleanup_task, files_below, rule, users_files, write

HOUSEKEEPER = Path(sys.executable).with_name("housekeeper")

POLICY = """\
apiVersion: housekeeper.dev/v1alpha1
kind: CleanupPolicy
metadata: {name: dumps}
spec:
  mode: MODE
  settleTime: 0s
  target: {volume: {persistentVolumeClaim: {claimName: data}}}
  rules:
  - name: dumps
    select: {include: ["**/*.dump"], exclude: ["keep/**"]}
    removeOlderThan: 30d
"""
CHECK = """\
apiVersion: housekeeper.dev/v1alpha1
kind: HealthCheck
metadata: {name: disk}
spec:
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: data}}
  checks:
  - {name: disk, type: Filesystem, filesystem: {volume: data, used: {failBelow: "100%"}}}
"""


def housekeeper(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([HOUSEKEEPER, *arguments], capture_output=True, text=True, check=False, input=stdin)


def one_object(done: subprocess.CompletedProcess[str]) -> Any:
    """Standard output, which must be exactly one JSON object."""
    return json.loads(done.stdout)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("MODE", "DryRun"))
    return path


@pytest.fixture
def dumps(volume: Path) -> Path:
    write(volume / "a/old.dump", days=OLD)
    for number in range(3):
        write(volume / f"young-{number}.dump", days=1)
    write(volume / "keep/old.dump", days=OLD)
    write(os.fsencode(volume) + b"/a/[bold]\xff.dump", days=OLD)
    return volume


OTHER_ENCODING = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""With these Python takes the names of files for ASCII."""


@pytest.fixture
def accented(volume: Path) -> Path:
    write(volume / "café/kept.dump", days=OLD)
    write(volume / "alt/gone.dump", days=OLD)
    write(volume / "alt/young.dump", days=1)
    return volume


def test_names_are_utf8_whatever_the_locale(accented: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("MODE", "DryRun").replace("keep/**", "café/**"), encoding="utf-8")
    command = [HOUSEKEEPER, "plan", policy, "--root", accented, "-o", "json"]
    done = subprocess.run(command, env=os.environ | OTHER_ENCODING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {one["path"] for one in one_object(done)["decisions"]} == {"alt/gone.dump", "alt/young.dump"}


def test_names_are_utf8_in_a_pod_too(accented: Path, tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text(cleanup_task(accented, rule(exclude=["café/**"])).to_json(), encoding="utf-8")
    where = {
        "HOUSEKEEPER_TASK_FILE": str(tmp_path / "task.json"),
        "HOUSEKEEPER_TERMINATION_LOG": str(tmp_path / "result"),
    }
    command = [sys.executable, "-m", "housekeeper_worker"]
    subprocess.run(command, env=os.environ | OTHER_ENCODING | where, capture_output=True, check=True)
    assert files_below(accented) == {"café/kept.dump".encode(), b"alt/young.dump"}


def test_plan_shows_what_would_go_and_why(policy: Path, dumps: Path) -> None:
    done = housekeeper("plan", policy, "--root", dumps)
    assert done.returncode == 0, done.stderr
    assert "a/old.dump" in done.stdout
    assert "a/[bold]\\xff.dump" in done.stdout
    assert "older than 30d" in done.stdout
    assert "young" not in done.stdout
    assert "would remove 2 of 5 selected files" in done.stdout
    assert len(files_below(dumps)) == 6


def test_plan_shows_what_stays_when_asked(policy: Path, dumps: Path) -> None:
    done = housekeeper("plan", policy, "--root", dumps, "--all")
    assert "not older than 30d" in done.stdout
    assert "keep/old.dump" not in done.stdout


def test_plan_as_json_is_one_object_with_every_decision(policy: Path, dumps: Path) -> None:
    told = one_object(housekeeper("plan", policy, "--root", dumps, "-o", "json"))
    assert [one["decision"] for one in told["decisions"]] == ["Remove", "Remove", "Keep", "Keep", "Keep"]
    assert told["decisions"][0]["pathBase64"]
    assert told["decisions"][1]["path"] == "a/old.dump"
    assert told["decisions"][1]["rule"] == "dumps"
    assert told["cleanup"]["removed"] == 2


def test_run_obeys_the_mode_of_the_policy(policy: Path, dumps: Path) -> None:
    dry = one_object(housekeeper("run", policy, "--root", dumps, "-o", "json"))
    assert (dry["mode"], dry["cleanup"]["removed"]) == ("DryRun", 2)
    assert len(files_below(dumps)) == 6
    policy.write_text(POLICY.replace("MODE", "Enforce"))
    done = housekeeper("run", policy, "--root", dumps)
    assert done.returncode == 0
    assert "removed 2 of 5 selected files" in done.stdout
    assert len(files_below(dumps)) == 4


def test_run_takes_another_mode_and_writes_the_audit_where_it_is_told(
    policy: Path, dumps: Path, tmp_path: Path
) -> None:
    audit = tmp_path / "audit.jsonl"
    done = housekeeper("run", policy, "--root", dumps, "--mode", "Enforce", "--audit", audit, "-o", "json")
    assert one_object(done)["cleanup"]["removed"] == 2
    assert '"event":"removed"' not in done.stderr
    events = [json.loads(line)["event"] for line in audit.read_text().splitlines()]
    assert [one for one in events if one != "chain"] == ["start", "intent", "removed", "removed", "summary"]


def test_a_plan_says_what_is_protected_and_what_is_open(policy: Path, dumps: Path) -> None:
    sticky = dumps / "a/sticky.dump"
    write(sticky, days=OLD)
    sticky.chmod(0o1644)
    write(dumps / "a/.nfs01.dump", days=OLD)
    with open(dumps / "a/old.dump", "rb"):
        told = one_object(housekeeper("plan", policy, "--root", dumps, "-o", "json"))
    by_path = {one["path"]: one for one in told["decisions"] if "path" in one}
    for path, reason in (
        ("a/sticky.dump", "sticky: it has the sticky bit"),
        ("a/.nfs01.dump", "reserved: a name that a file system gives"),
        ("a/old.dump", "inUse: a process has it open"),
    ):
        one = by_path[path]
        assert (one["decision"], one["rule"], one["group"], one["reasons"]) == ("Keep", "dumps", {}, [reason])
    assert told["cleanup"]["removed"] == 1
    assert all(one["reasons"] and one["rule"] for one in told["decisions"])


def test_plan_never_removes_whatever_the_policy_says(policy: Path, dumps: Path) -> None:
    policy.write_text(POLICY.replace("MODE", "Enforce"))
    assert housekeeper("plan", policy, "--root", dumps).returncode == 0
    assert len(files_below(dumps)) == 6


def test_a_policy_can_come_from_standard_input(dumps: Path) -> None:
    done = housekeeper("plan", "-", "--root", dumps, "-o", "json", stdin=POLICY.replace("MODE", "DryRun"))
    assert one_object(done)["cleanup"]["removed"] == 2


def test_a_held_plan_exits_with_four(policy: Path, dumps: Path) -> None:
    policy.write_text(
        POLICY.replace("MODE", "Enforce").replace("settleTime: 0s", "settleTime: 0s\n  brakes: {maxPercent: 39}")
    )
    done = housekeeper("run", policy, "--root", dumps, "-o", "json")
    assert (done.returncode, one_object(done)["outcome"]) == (4, "Held")
    assert len(users_files(dumps)) == 6


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (POLICY.replace("MODE", "Sometimes"), "spec.mode"),
        (POLICY.replace("MODE", "DryRun").replace("removeOlderThan", "removeOlderThen"), "removeOlderThen"),
        (POLICY.replace("MODE", "DryRun").replace("30d", "30 days"), "spec.rules[0].removeOlderThan"),
        (POLICY.replace("MODE", "DryRun") + "  timeZone: Mars/Olympus\n", "spec.timeZone"),
        (POLICY.replace("MODE", "DryRun").replace("keep/**", "[z-a]"), "the wrong way round"),
        (POLICY.replace("MODE", "DryRun") + "---\n" + POLICY, "holds 2 documents"),
        (POLICY + "  mode: DryRun\n", "found 'mode' twice"),
        (CHECK, "this command takes a CleanupPolicy"),
        ("", "holds 0 documents"),
        ("- a\n- b\n", "holds no object"),
        ("a: [", "is not YAML"),
        ("\x00", "is not YAML"),
        ("[" * 5000, "is nested too deeply"),
        ("? [a, b]\n: 1\n", "found a key that is no word"),
        ("a: {? {b: c} : 1}\n", "found a key that is no word"),
        ("a: !!map [1]\n", "is not YAML: expected a mapping node"),
        ("a: 2024-13-45\n", "is not YAML: month must be in 1..12"),
        ("a: !!int x\n", "is not YAML: invalid literal"),
        ("#" * ((1 << 20) + 1), "policy.yaml: is larger than 1048576 bytes"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(policy: Path, dumps: Path, text: str, sentence: str) -> None:
    policy.write_text(text)
    done = housekeeper("run", policy, "--root", dumps, "-o", "json")
    assert done.returncode == 64
    assert sentence in done.stderr
    assert sentence in one_object(done)["message"]
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_refused(volume: Path) -> None:
    done = housekeeper("plan", volume / "none.yaml", "--root", volume)
    assert done.returncode == 64
    assert "No such file" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["plan"], ["plan", "p.yaml"], ["nonsense"], ["run", "p.yaml", "--root", "/", "-o", "xml"], ["run", "--force"]],
)
def test_a_wrong_command_line_is_refused(arguments: list[str]) -> None:
    done = housekeeper(*arguments)
    assert done.returncode == 64
    assert done.stderr.startswith("housekeeper: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--root", "/", "--days", "y"],
        ["plan", "p.yaml"],
        ["run", "p.yaml", "--root", "/", "--frobnicate"],
        ["nonsense"],
        ["status"],
        ["simulate", "p.yaml"],
        ["simulate", "none.yaml", "--items", "none.jsonl"],
    ],
)
@pytest.mark.parametrize("json_wanted", [["-o", "json"], ["--output=json"], ["-ojson"]])
def test_with_json_what_is_wrong_is_one_object_too(arguments: list[str], json_wanted: list[str]) -> None:
    done = housekeeper(*arguments, *json_wanted)
    told = one_object(done)
    assert (done.returncode, told["outcome"]) == (64, "CouldNotRun")
    assert f"housekeeper: {told['message']}\n" == done.stderr


@pytest.mark.parametrize("more", [["-o", "json", "-o", "table"], ["--", "-o", "json"], []])
def test_without_json_what_is_wrong_is_no_object(more: list[str]) -> None:
    done = housekeeper("plan", "--frobnicate", *more)
    assert (done.returncode, done.stdout) == (64, "")


def test_a_root_that_is_not_there_could_not_run(policy: Path, tmp_path: Path) -> None:
    done = housekeeper("run", policy, "--root", tmp_path / "none", "-o", "json")
    assert (done.returncode, one_object(done)["outcome"]) == (2, "CouldNotRun")


def test_an_audit_that_cannot_be_opened_stops_before_anything(policy: Path, dumps: Path, tmp_path: Path) -> None:
    done = housekeeper("run", policy, "--root", dumps, "--mode", "Enforce", "--audit", tmp_path / "no/dir")
    assert done.returncode == 2
    assert len(files_below(dumps)) == 6


def test_a_reader_that_has_seen_enough_is_no_traceback(policy: Path, volume: Path) -> None:
    for number in range(3000):
        write(volume / f"d/{number}.dump", days=OLD)
    pipeline = '"$0" plan "$1" --root "$2" -o json | head -c 10'
    done = subprocess.run(
        ["sh", "-c", pipeline, HOUSEKEEPER, policy, volume], capture_output=True, text=True, check=True
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_check_measures_the_volume_where_it_is(tmp_path: Path, volume: Path) -> None:
    path = tmp_path / "check.yaml"
    path.write_text(CHECK)
    done = housekeeper("check", path, "--volume", f"data={volume}", "-o", "json")
    assert done.returncode == 0  # carried out; that it failed is its result
    assert [(one["name"], one["result"]) for one in one_object(done)["checks"]] == [("disk", "Failed")]
    elsewhere = housekeeper("check", path)
    assert elsewhere.returncode == 3
    assert "Unknown" in elsewhere.stdout
    wrong = housekeeper("check", path, "--volume", f"other={volume}")
    assert wrong.returncode == 64
    assert "there is data" in wrong.stderr


def test_what_is_no_yaml_is_said_with_the_name_of_the_file(policy: Path, volume: Path) -> None:
    for text in ("a: [", "a: \0"):
        policy.write_text(text)
        done = housekeeper("plan", policy, "--root", volume)
        assert f'in "{policy}"' in done.stderr
        assert "string>" not in done.stderr
    done = housekeeper("plan", "-", "--root", volume, stdin="a: [")
    assert 'in "standard input", line 1' in done.stderr


@pytest.mark.parametrize("digest", ["abc", "sha256:abc", f"sha256:{'G' * 64}"])
def test_an_approval_of_no_digest_names_the_option(policy: Path, volume: Path, digest: str) -> None:
    done = housekeeper("run", policy, "--root", volume, "--approve", digest)
    assert done.returncode == 64
    assert done.stderr == f"housekeeper: --approve: {digest!r} is no digest: write sha256: and 64 hexadecimal digits\n"


def test_it_says_which_release_it_is() -> None:
    done = housekeeper("--version")
    assert (done.returncode, done.stdout) == (0, f"housekeeper {RELEASE}\n")


def test_help_names_the_commands_and_exit_codes() -> None:
    done = housekeeper("--help")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("plan", "run", "check", "64 invalid input"))

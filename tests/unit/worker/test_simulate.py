"""`housekeeper simulate`: decisions about items that are only written down."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HOUSEKEEPER = Path(sys.executable).with_name("housekeeper")
NOW = "2026-11-22T12:00:00Z"
POLICY = """\
apiVersion: housekeeper.dev/v1alpha1
kind: CleanupPolicy
metadata: {name: dumps}
spec:
  timeZone: Europe/Berlin
  target: {volume: {persistentVolumeClaim: {claimName: data}, path: pg}}
  brakes: {maxPercent: 100}
  rules:
"""
DUMPS = """\
  - name: dumps
    select: {include: ["**/*.dump"], exclude: ["**/keep/**"]}
    groupBy: '(?:.*/)?(?P<env>prod|qa)-[^/]*'
    keep: {daily: 2}
    keepPerGroup:
    - {match: {env: prod}, keep: {last: 3}}
  - name: rest
    select: {include: ["**/*.dump"]}
    removeOlderThan: 7d
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY + DUMPS)
    return path


def simulate(policy: Path, items: list[Any] | str, *arguments: str) -> subprocess.CompletedProcess[str]:
    text = items if isinstance(items, str) else "".join(f"{json.dumps(item)}\n" for item in items)
    command = [HOUSEKEEPER, "simulate", policy, "--items", "-", "--now", NOW, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, input=text)


def item(path: str, time: str | float, size: int = 1) -> dict[str, Any]:
    return {"path": path, "time": time, "size": size}


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_item_gets_a_line_in_the_order_in_which_it_came(policy: Path) -> None:
    times = {
        "pg/qa-2.dump": "2026-11-20T09:00:00Z",
        "pg/prod-1.dump": "2026-11-01T09:00:00Z",
        "pg/qa-3.dump": "2026-11-21T22:59:59Z",
        "pg/qa-4.dump": "2026-11-21T23:00:00+00:00",  # the 22nd in Berlin
        "pg/qa-5.dump": "2026-11-22T08:00:00",
        "pg/latest-prod.dump": "2026-11-22T08:00:00Z",
        "pg/old.dump": "2026-11-01T08:00:00Z",
        "pg/qa-6.dump": "2026-11-23T08:00:00Z",
        "qa-7.dump": "2026-11-01T08:00:00Z",
        "pg/keep/qa-8.dump": "2026-11-01T08:00:00Z",
        "pg/lost+found/qa-9.dump": "2026-11-01T08:00:00Z",
    }
    told = lines(simulate(policy, [item(path, time) for path, time in times.items()], "-o", "json"))
    assert [list(one) for one in told] == [["path", "decision", "rule", "group", "reasons"]] * len(times)
    assert [tuple(one.values()) for one in told] == [
        ("pg/qa-2.dump", "Remove", "dumps", {"env": "qa"}, ["not among daily 2"]),
        ("pg/prod-1.dump", "Keep", "dumps", {"env": "prod"}, ["last 1/3"]),
        ("pg/qa-3.dump", "Keep", "dumps", {"env": "qa"}, ["daily 2/2"]),
        ("pg/qa-4.dump", "Remove", "dumps", {"env": "qa"}, ["not among daily 2"]),
        ("pg/qa-5.dump", "Keep", "dumps", {"env": "qa"}, ["daily 1/2"]),
        ("pg/latest-prod.dump", "Keep", "rest", {}, ["not older than 7d"]),
        ("pg/old.dump", "Remove", "rest", {}, ["older than 7d"]),
        ("pg/qa-6.dump", "Keep", "dumps", {"env": "qa"}, ["its time lies in the future"]),
        ("qa-7.dump", "Keep", None, {}, ["no rule selects it"]),
        ("pg/keep/qa-8.dump", "Remove", "rest", {}, ["older than 7d"]),
        ("pg/lost+found/qa-9.dump", "Keep", None, {}, ["no rule selects it"]),
    ]


def test_sizes_count_to_the_byte(policy: Path) -> None:
    policy.write_text(POLICY + '  - {name: r, select: {include: ["**"]}, keep: {maxTotalSize: "25"}}\n')
    items = [item(f"pg/{number}", 1_700_000_000.5 + number, 10) for number in range(4)]
    told = lines(simulate(policy, items, "-o", "json"))
    assert [one["decision"] for one in told] == ["Remove", "Remove", "Keep", "Keep"]


def test_what_is_not_settled_stays_and_counts(policy: Path) -> None:
    policy.write_text(POLICY + '  - {name: r, select: {include: ["**"]}, keep: {last: 1}}\n')
    items = [item(f"pg/{number}", f"2026-11-22T11:{50 + number}:30Z") for number in range(3)]
    told = lines(simulate(policy, items, "-o", "json"))
    assert [one["reasons"][0].partition(":")[0] for one in told] == ["settling", "settling", "last 1/1"]


def test_a_line_may_be_a_directory(policy: Path) -> None:
    rules = """\
  - name: runs
    select: {itemType: Directory, include: ["pg/runs/*"], ignoreIncomplete: true}
    keep: {last: 1}
  - {name: rest, select: {include: ["pg/**"]}, removeOlderThan: 7d}
"""
    policy.write_text(POLICY + rules)
    names = ("pg/runs/1", "pg/runs/2", "pg/runs/3", "pg/runs/3.lock", "pg/file")
    told = lines(simulate(policy, [item(name, 1_700_000_000 + day) for day, name in enumerate(names)], "-o", "json"))
    incomplete = "incomplete: it is still being written, as its name or a sibling's says"
    assert [(one["decision"], one["rule"], one["reasons"]) for one in told] == [
        ("Remove", "runs", ["not among last 1"]),
        ("Keep", "runs", ["last 1/1"]),
        ("Keep", "runs", [incomplete]),
        ("Keep", "runs", [incomplete]),
        ("Remove", "rest", ["older than 7d"]),
    ]


def test_a_replay_tells_what_is_there_after_each_run(policy: Path) -> None:
    items = [item(f"pg/qa-{day}.dump", f"2026-11-{day}T03:00:00Z") for day in range(21, 26)]
    told = lines(simulate(policy, items, "--until", "2026-11-25", "--every", "1d", "-o", "json"))
    assert [
        (one["now"][:16], [path[3:5] + path[6:8] for path in one["items"]], len(one["removed"])) for one in told
    ] == [
        ("2026-11-22T12:00", ["qa21", "qa22"], 0),
        ("2026-11-23T12:00", ["qa22", "qa23"], 1),
        ("2026-11-24T12:00", ["qa23", "qa24"], 1),
    ]
    assert "2026-11-24" in simulate(policy, items, "--until", "2026-11-25").stdout


def test_a_table_for_people(policy: Path) -> None:
    done = simulate(policy, [item("pg/qa-[bold]-1.dump", 1_700_000_000)])
    assert "qa-[bold]-1.dump" in done.stdout
    assert "env=qa" in done.stdout
    assert "daily 1/2" in done.stdout


def test_a_brake_that_would_hold_the_run_is_told(policy: Path) -> None:
    policy.write_text(POLICY.replace("100", "10") + DUMPS)
    done = simulate(policy, [item("pg/old.dump", 1)], "-o", "json")
    assert "a run would be held: the plan would remove 1 of 1 selected files" in done.stderr
    assert lines(done)[0]["decision"] == "Remove"


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ("{", "line 1: "),
        ("\n[]\n", "line 2: path: None must be"),
        ('{"path": "/a", "time": 1}', "path: '/a' must be a path below"),
        ('{"path": "a/../b", "time": 1}', "must be a path below"),
        ('{"path": "\\ud800", "time": 1}', "must be a path below"),
        ('{"path": "a"}', "time: None must be a time"),
        ('{"path": "a", "time": true}', "must be a time"),
        ('{"path": "a", "time": 1e300}', "must be a time"),
        ('{"path": "a", "time": "yesterday"}', "must be a time"),
        ('{"path": "a", "time": 1, "size": -1}', "size: -1 must be"),
        ('{"path": "a", "time": 1}\n{"path": "a", "time": 2}', "line 2: path: 'a' is there twice"),
    ],
)
def test_a_line_that_is_no_item_is_named(policy: Path, items: str, problem: str) -> None:
    done = simulate(policy, items, "-o", "json")
    assert done.returncode == 64
    assert problem in json.loads(done.stdout)["message"]
    assert problem in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--now", "soon"), ("--until", "x"), ("--until", "2026-12-01", "--every", "1s"), ("--until", "2026-11-01")],
)
def test_a_time_that_is_none_is_named(policy: Path, arguments: tuple[str, ...]) -> None:
    done = simulate(policy, [item("pg/a", 1)], *arguments)
    assert done.returncode == 64
    assert arguments[-2] in done.stderr


def test_now_may_be_in_seconds_as_the_times_of_items_are(policy: Path) -> None:
    seconds = str(int(dt.datetime.fromisoformat(NOW).timestamp()))
    items = [item("pg/prod-1.dump", 1), item("pg/prod-2.dump", 2)]
    assert (
        simulate(policy, items, "--now", seconds, "-o", "json").stdout == simulate(policy, items, "-o", "json").stdout
    )


def test_standard_input_is_one_of_the_two(policy: Path) -> None:
    command = [HOUSEKEEPER, "simulate", "-", "--items", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=policy.read_text())
    assert (done.returncode, "not both" in done.stderr) == (64, True)


def test_plan_and_run_honour_keep(policy: Path, volume: Path) -> None:
    from tests.unit.worker.builders import files_below, write

    policy.write_text((POLICY + DUMPS).replace("  timeZone", "  settleTime: 0s\n  mode: Enforce\n  timeZone"))
    for age in range(5):
        write(volume / f"pg/prod-{age}.dump", days=age + 1)
    done = subprocess.run(
        [HOUSEKEEPER, "plan", policy, "--root", volume, "-o", "json"], capture_output=True, text=True, check=True
    )
    told = {
        one["path"]: (one["decision"], one["group"], one["reasons"]) for one in json.loads(done.stdout)["decisions"]
    }
    assert told["pg/prod-2.dump"] == ("Keep", {"env": "prod"}, ["last 3/3"])
    assert told["pg/prod-3.dump"] == ("Remove", {"env": "prod"}, ["not among last 3"])
    done = subprocess.run([HOUSEKEEPER, "plan", policy, "--root", volume], capture_output=True, text=True, check=True)
    assert "env=prod" in done.stdout
    subprocess.run([HOUSEKEEPER, "run", policy, "--root", volume], check=True, capture_output=True)
    assert files_below(volume) == {b"pg/prod-0.dump", b"pg/prod-1.dump", b"pg/prod-2.dump"}


def test_sizes_select_as_they_do_in_a_run(policy: Path) -> None:
    select = "select: {include: ['**'], minSize: 1Ki, maxSize: 2Ki}, keep: {last: 1}"
    policy.write_text(POLICY + f"  - {{name: r, {select}}}\n")
    sizes = (1023, 1024, 2048, 2049)
    items = [item(f"pg/{size}", 1_700_000_000 + size, size) for size in sizes]
    told = lines(simulate(policy, items, "-o", "json"))
    assert [one["rule"] for one in told] == [None, "r", "r", None]
    assert [one["decision"] for one in told] == ["Keep", "Remove", "Keep", "Keep"]


def test_names_that_file_systems_keep_for_themselves_stay_and_do_not_count(policy: Path) -> None:
    policy.write_text(POLICY + "  - {name: r, select: {include: ['**']}, keep: {last: 1}}\n")
    names = ("a", "b", ".nfs0001", ".fuse_hidden01")
    items = [item(f"pg/{name}", 1_700_000_000 + number) for number, name in enumerate(names)]
    told = lines(simulate(policy, items, "-o", "json"))
    assert [(one["decision"], one["reasons"][0].partition(":")[0]) for one in told] == [
        ("Remove", "not among last 1"),
        ("Keep", "last 1/1"),
        ("Keep", "protected"),
        ("Keep", "protected"),
    ]
    again = lines(simulate(policy, items, "--until", "2026-11-23", "-o", "json"))
    assert again[0]["items"] == ["pg/b", "pg/.nfs0001", "pg/.fuse_hidden01"]


def test_the_time_of_an_item_is_the_one_that_the_rule_goes_by(policy: Path) -> None:
    for source in ("AccessTime", "ChangeTime", "BirthTime"):
        rule = f"select: {{include: ['**']}}, time: {{source: {source}}}, removeOlderThan: 7d"
        policy.write_text(POLICY + f"  - {{name: r, {rule}}}\n")
        items = [item("pg/old", "2026-11-01T00:00:00Z"), item("pg/new", "2026-11-20T00:00:00Z")]
        assert [one["decision"] for one in lines(simulate(policy, items, "-o", "json"))] == ["Remove", "Keep"]


def test_that_pressure_is_not_simulated_is_said(policy: Path) -> None:
    policy.write_text(POLICY.replace("  brakes", "  pressure: {highPercent: 85, lowPercent: 75}\n  brakes") + DUMPS)
    done = simulate(policy, [item("pg/old.dump", 1)], "-o", "json")
    assert "housekeeper: pressure is not simulated" in done.stderr
    assert lines(done)[0]["decision"] == "Remove"
    assert "pressure is not simulated" in simulate(policy, [item("pg/a.dump", 1)], "--until", "2026-11-23").stderr


def test_plan_and_run_take_the_size_of_a_claim(policy: Path, volume: Path) -> None:
    from tests.unit.worker.builders import files_below, write

    pressure = "  pressure: {highPercent: 80, lowPercent: 40, of: Claim}\n  settleTime: 0s\n  mode: Enforce\n  brakes"
    policy.write_text(POLICY.replace(", path: pg", "").replace("  brakes", pressure) + DUMPS)
    for number in range(9):
        write(volume / f"pg/qa-{number}.dump", days=number + 8, content=b"x" * (1 << 20))

    def housekeeper(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        options = [HOUSEKEEPER, command, policy, "--root", volume, *arguments]
        return subprocess.run(options, capture_output=True, text=True, check=False)

    unknown = housekeeper("run")
    assert unknown.returncode == 2
    assert "give --capacity" in unknown.stderr
    assert housekeeper("plan", "--capacity", "10").returncode == 0
    assert housekeeper("plan", "--capacity", "ten").returncode == 64
    planned = json.loads(housekeeper("plan", "--capacity", "10Mi", "-o", "json").stdout)
    decided = {one["path"]: (one["decision"], one["reasons"][0]) for one in planned["decisions"]}
    spared = "spared: what is older brings the volume to 40 %"
    assert decided["pg/qa-8.dump"] == ("Remove", "not among daily 2")
    assert decided["pg/qa-2.dump"] == ("Keep", spared)
    assert decided["pg/qa-1.dump"] == ("Keep", "daily 2/2")
    assert "without these files" in planned["message"]
    assert housekeeper("run", "--capacity", "10Mi").returncode == 0
    assert files_below(volume) == {f"pg/qa-{number}.dump".encode() for number in range(3)}


def test_a_replay_removes_nothing_that_a_brake_would_hold(policy: Path) -> None:
    policy.write_text(POLICY.replace("maxPercent: 100", "maxPercent: 40") + DUMPS)
    items = [item(f"pg/old-{number}.dump", f"2026-11-1{number}T00:00:00Z") for number in range(4, 9)]
    told = lines(simulate(policy, items, "--until", "2026-11-26", "-o", "json"))
    # Two of five are old, on the next day one of three, then one of two, which nobody approves.
    assert [(len(one["items"]), len(one["removed"]), "held" in one) for one in told] == [
        (3, 2, False),
        (2, 1, False),
        (2, 0, True),
        (2, 0, True),
    ]
    assert "50.0 % is more than brakes.maxPercent 40" in told[2]["held"]
    assert "held: the plan would" in " ".join(simulate(policy, items, "--until", "2026-11-26").stdout.split())


def test_a_replay_knows_what_is_usual(policy: Path) -> None:
    items = [item(f"pg/{day}-{number}.dump", f"2026-11-{day}T00:00:00Z") for day in (16, 17) for number in range(2)]
    items += [item(f"pg/many-{number}.dump", "2026-11-19T00:00:00Z") for number in range(101)]
    items.append(item("pg/young.dump", "2026-11-24T00:00:00Z"))
    told = lines(simulate(policy, items, "--until", "2026-11-27", "-o", "json"))
    assert [len(one["removed"]) for one in told] == [0, 2, 2, 0, 0]
    assert "101 files are more than ten times 1, the median of the last 4 runs" in told[-1]["held"]


@pytest.mark.parametrize("every", ["999999y", "999999mo", "999999w", "999999d"])
def test_steps_beyond_the_calendar_are_the_end_of_a_replay(policy: Path, every: str) -> None:
    assert len(lines(simulate(policy, [item("pg/a", 1)], "--until", "2027-01-01", "--every", every, "-o", "json"))) == 1


def test_a_replay_of_too_many_runs_is_refused(policy: Path) -> None:
    done = simulate(policy, [item("pg/a", 1)], "--until", "2250-01-01", "--every", "1h")
    assert (done.returncode, done.stdout) == (64, "")
    assert "--every: that is more than 100000 runs" in done.stderr

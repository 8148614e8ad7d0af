"""Health checks: limits, control groups as recorded on real machines, and the machine under this test."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from housekeeper_api.result import CheckReport
from housekeeper_api.task import Check, Health, Task, Threshold
from housekeeper_worker.checks.cgroup import Cgroup, CPULimit, MemoryLimit
from housekeeper_worker.checks.filesystem import measure_filesystem
from housekeeper_worker.checks.measurement import Measurement, Unmeasurable
from housekeeper_worker.checks.memory import memory_of
from housekeeper_worker.checks.registry import carry_out
from housekeeper_worker.checks.thresholds import judge
from housekeeper_worker.health import examine
from housekeeper_worker.stop import Stop
from tests.unit.worker.scenarios import scene

GIB = 1 << 30


@pytest.mark.parametrize(
    ("value", "limits", "result"),
    [
        (80.0, Threshold(warn_above=80, fail_above=90), "Passed"),
        (80.01, Threshold(warn_above=80, fail_above=90), "Warning"),
        (90.0, Threshold(warn_above=80, fail_above=90), "Warning"),
        (90.01, Threshold(warn_above=80, fail_above=90), "Failed"),
        (10.0, Threshold(warn_below=10, fail_below=5), "Passed"),
        (9.99, Threshold(warn_below=10, fail_below=5), "Warning"),
        (5.0, Threshold(warn_below=10, fail_below=5), "Warning"),
        (4.99, Threshold(warn_below=10, fail_below=5), "Failed"),
        (99.0, Threshold(), "Passed"),
        (99.0, Threshold(fail_above=50), "Failed"),
    ],
)
def test_limits_trip_strictly(value: float, limits: Threshold, result: str) -> None:
    assert judge("check", [Measurement("used", value, "percent")], {"used": limits}).result == result


def test_the_worst_value_speaks_first() -> None:
    report = judge(
        "disk",
        [Measurement("used", 50.0, "percent", "1.0 GiB of 2.0 GiB"), Measurement("inodesUsed", 95.5, "percent")],
        {"used": Threshold(fail_above=90), "inodesUsed": Threshold(fail_above=90)},
    )
    expected = "inodesUsed 95.5 % is above 90 %; used 50 % (1.0 GiB of 2.0 GiB)"
    assert report == CheckReport("disk", "Failed", "95.50", "percent", expected)


def test_bytes_are_told_in_bytes() -> None:
    report = judge("mem", [Measurement("available", 1.5 * GIB, "bytes")], {"available": Threshold(fail_below=2 * GIB)})
    assert report == CheckReport("mem", "Failed", str(3 * GIB // 2), "bytes", "available 1.5 GiB is below 2.0 GiB")


@pytest.mark.parametrize(
    ("used", "inode_limits", "result"),
    [
        (50.0, Threshold(fail_above=90), "Unknown"),
        (50.0, Threshold(), "Passed"),
        (95.0, Threshold(fail_above=90), "Failed"),  # that much is certain
    ],
)
def test_a_value_that_cannot_be_had_is_unknown_if_somebody_asked(
    used: float, inode_limits: Threshold, result: str
) -> None:
    values = [Measurement("used", used, "percent"), Measurement("inodesUsed", None, "percent", "no inodes")]
    report = judge("disk", values, {"used": Threshold(fail_above=90), "inodesUsed": inode_limits})
    assert report.result == result
    assert "inodesUsed unknown: no inodes" in report.message


def test_messages_are_short() -> None:
    assert len(judge("c", [Measurement("used", 1, "percent", "x" * 500)], {}).message) == 128


def recorded(root: Path, files: dict[str, str]) -> Cgroup:
    """A control group hierarchy: `proc` is /proc/self/cgroup, the rest lies below the mount."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Cgroup(str(root / "proc"), str(root / "mount"))


def test_version_2_in_a_container_of_its_own_namespace(tmp_path: Path) -> None:
    cgroup = recorded(
        tmp_path,
        {
            "proc": "0::/\n",
            "mount/cgroup.controllers": "cpu memory\n",
            "mount/memory.max": "134217728\n",
            "mount/memory.current": "50000000\n",
            "mount/memory.stat": "anon 1\ninactive_file 20000000\n",
            "mount/cpu.max": "50000 100000\n",
            "mount/cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
        },
    )
    assert cgroup.memory() == MemoryLimit(134217728, 30000000)
    assert cgroup.cpu() == CPULimit(0.5, 1.5)


def test_version_2_takes_the_tightest_of_its_ancestors(tmp_path: Path) -> None:
    cgroup = recorded(
        tmp_path,
        {
            "proc": "0::/kubepods/pod1/container\n",
            "mount/cgroup.controllers": "cpu memory\n",
            "mount/kubepods/pod1/container/memory.max": "max\n",
            "mount/kubepods/pod1/container/memory.current": "1\n",
            "mount/kubepods/pod1/memory.max": "1000\n",
            "mount/kubepods/pod1/memory.current": "600\n",
            "mount/kubepods/memory.max": "9000\n",
            "mount/kubepods/memory.current": "8000\n",
            "mount/kubepods/pod1/container/cpu.max": "max 100000\n",
            "mount/kubepods/pod1/container/cpu.stat": "usage_usec 1\n",
        },
    )
    assert cgroup.memory() == MemoryLimit(1000, 600)
    assert cgroup.cpu() is None


def test_version_1_with_the_path_of_the_host_or_the_mount_itself(tmp_path: Path) -> None:
    proc = "11:cpu,cpuacct:/kubepods/pod1\n4:memory:/kubepods/pod1\n1:name=systemd:/x\n"
    files = {
        "proc": proc,
        "mount/memory/memory.limit_in_bytes": "2000\n",
        "mount/memory/memory.usage_in_bytes": "1500\n",
        "mount/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
        "mount/cpu/cpu.cfs_quota_us": "200000\n",
        "mount/cpu/cpu.cfs_period_us": "100000\n",
        "mount/cpuacct/cpuacct.usage": "3000000000\n",
    }
    inside = recorded(tmp_path / "a", files)
    assert (inside.memory(), inside.cpu()) == (MemoryLimit(2000, 1000), CPULimit(2.0, 3.0))
    host = {name.replace("/memory/", "/memory/kubepods/pod1/"): text for name, text in files.items()}
    assert recorded(tmp_path / "b", host).memory() == MemoryLimit(2000, 1000)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc": "0::/\n"},
        {"proc": "0::/\n", "mount/cgroup.controllers": "", "mount/memory.max": "max\n", "mount/memory.current": "5\n"},
        {
            "proc": "4:memory:/\n",
            "mount/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "mount/memory/memory.usage_in_bytes": "5\n",
        },
        {"proc": "11:cpu,cpuacct:/\n", "mount/cpu/cpu.cfs_quota_us": "-1\n", "mount/cpu/cpu.cfs_period_us": "100000\n"},
        {"proc": "garbage", "mount/memory.max": "x"},
    ],
)
def test_without_a_limit_there_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    cgroup = recorded(tmp_path, files)
    assert (cgroup.memory(), cgroup.cpu()) == (None, None)


@pytest.mark.parametrize(
    ("limit", "percent", "available", "of"),
    [
        (None, 25.0, 6 * GIB, "the node"),
        (MemoryLimit(100 * GIB, GIB), 25.0, 6 * GIB, "the node"),
        (MemoryLimit(GIB, GIB // 2), 50.0, GIB // 2, "the limit"),
        (MemoryLimit(GIB, 2 * GIB), 200.0, 0, "the limit"),
        (MemoryLimit(7 * GIB, 0), 0.0, 6 * GIB, "the limit"),  # no more than the node has
    ],
)
def test_memory_is_of_the_limit_if_it_is_tighter_than_the_node(
    limit: MemoryLimit | None, percent: float, available: int, of: str
) -> None:
    used, free = memory_of(limit, host_total=8 * GIB, host_available=6 * GIB)
    assert (used.value, free.value) == (percent, available)
    assert used.note.endswith(of)


def test_file_systems_are_measured_as_df_does(tmp_path: Path) -> None:
    told = scene("df", tmp_path)
    assert told["used"] == told["df"]["used"]
    assert told["inodesUsed"] == told["df"]["inodesUsed"]


def test_a_volume_that_is_not_there_is_unknown() -> None:
    with pytest.raises(Unmeasurable, match=r"/volumes/data: No such file or directory; check spec\.volumes"):
        measure_filesystem("/volumes/data")
    report = carry_out(Check("disk", "Filesystem", {}, mount="/volumes/data"), Stop())
    assert report.result == "Unknown"
    assert "check spec.volumes" in report.message


def health_task(*checks: Check) -> Task:
    return Task("run", "ns", "p", 1, "DryRun", "Etc/UTC", 30.0, health=Health(checks))


def test_this_machine_can_be_checked(tmp_path: Path) -> None:
    checks = (
        Check("mem", "Memory", {"used": Threshold(fail_above=100), "available": Threshold(fail_below=1)}),
        Check("cpu", "CPU", {"used": Threshold()}, sample_seconds=0.1),
        Check("disk", "Filesystem", {"used": Threshold(fail_above=100)}, mount=str(tmp_path)),
        Check("gone", "Filesystem", {"used": Threshold(fail_above=1)}, mount=str(tmp_path / "gone")),
    )
    task = health_task(*checks)
    assert task.health is not None
    result = examine(task, task.health, stop=Stop())
    assert result.checks is not None
    assert [(one.name, one.result) for one in result.checks] == [
        ("mem", "Passed"),
        ("cpu", "Passed"),
        ("disk", "Passed"),
        ("gone", "Unknown"),
    ]
    assert result.outcome == "PartiallySucceeded"
    usage = shutil.disk_usage(tmp_path)
    assert float(result.checks[2].value) == pytest.approx(100 * usage.used / (usage.used + usage.free), abs=1)
    assert all(0 <= float(one.value) <= 100 for one in result.checks[:3])


def test_checks_that_the_run_had_no_time_for_are_unknown() -> None:
    stop = Stop()
    stop.now("TimedOut")
    task = health_task(Check("cpu", "CPU", {}, sample_seconds=60), Check("mem", "Memory", {}))
    assert task.health is not None
    result = examine(task, task.health, stop=stop)
    assert result.outcome == "TimedOut"
    assert result.checks is not None
    assert {one.result for one in result.checks} == {"Unknown"}


def test_a_sample_that_is_cut_short_is_unknown() -> None:
    stop = Stop()
    stop.now("Cancelled")
    assert carry_out(Check("cpu", "CPU", {}, sample_seconds=60), stop).result == "Unknown"


def test_the_mount_of_a_check_may_be_closed_to_the_worker(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0)
    assert carry_out(Check("disk", "Filesystem", {}, mount=str(tmp_path)), Stop()).result == "Passed"

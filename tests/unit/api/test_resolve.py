"""From resources to tasks: the whole task, as the worker reads it."""

from __future__ import annotations

import json

from housekeeper_api.cleanup_policy import CleanupPolicy
from housekeeper_api.health_check import HealthCheck
from housekeeper_api.resolve import cleanup_task, health_task, needs_capacity, restore_task, semantic_problems
from housekeeper_api.task import Restore, Task
from tests.data.manifests import table


def in_namespace(name: str) -> table.Object:
    manifest = table.valid()[name]
    manifest["metadata"]["namespace"] = "backups"
    return manifest


def test_the_task_of_a_policy_says_everything() -> None:
    policy = CleanupPolicy.from_object(in_namespace("full-policy"))
    assert needs_capacity(policy)
    task = cleanup_task(policy, run="clp-full-policy-29000000", attempt=2, mode="DryRun", capacity=20 << 30)
    assert json.loads(task.to_json()) == {
        "schemaVersion": 1,
        "run": "clp-full-policy-29000000",
        "namespace": "backups",
        "policy": "full-policy",
        "attempt": 2,
        "mode": "DryRun",
        "timeZone": "Europe/Berlin",
        "timeoutSeconds": 604800.0,
        "cleanup": {
            "root": "/volumes/target",
            "path": "postgres/daily",
            "rules": [
                {
                    "name": "dumps",
                    "include": ["**/*.dump", "old/{a,b}/[0-9]*.sql", ".hidden/?"],
                    "exclude": ["**/keep/**", ".housekeeper/**"],
                    "removeOlderThan": "1mo",
                    "time": {"source": "ModificationTime", "format": ""},
                    "itemType": "Directory",
                    "ignoreIncomplete": False,
                    "removeEmptyDirectories": "Never",
                    "keepPerGroup": [],
                    "action": "Delete",
                },
                {
                    "name": "logs",
                    "include": ["**/*.log"],
                    "exclude": [],
                    "removeOlderThan": "2w",
                    "time": {"source": "AccessTime", "format": ""},
                    "itemType": "File",
                    "ignoreIncomplete": True,
                    "removeEmptyDirectories": "EmptiedByThisRun",
                    "keepPerGroup": [],
                    "minSize": 0,
                    "maxSize": 3 << 29,
                    "action": "Delete",
                },
                {
                    "name": "kept",
                    "include": ["**/*.tar"],
                    "exclude": [],
                    "removeOlderThan": "30d",
                    "time": {"source": "Name", "format": "%Y%m%d-%H%M%S"},
                    "groupBy": "(?:.*/)?(?P<env>prod|qa)[-_](?P<host>[^/]*)[.]tar",
                    "keep": {
                        "last": 10,
                        "hourly": 24,
                        "daily": 7,
                        "weekly": 4,
                        "monthly": 12,
                        "yearly": -1,
                        "within": "14d",
                        "withinHourly": "2d",
                        "withinDaily": "30d",
                        "withinWeekly": "8w",
                        "withinMonthly": "1y",
                        "withinYearly": "100y",
                        "maxTotalSize": 2**39,
                        "atLeast": 0,
                    },
                    "itemType": "File",
                    "ignoreIncomplete": False,
                    "removeEmptyDirectories": "Never",
                    "keepPerGroup": [
                        {"match": {"env": "prod", "host": ""}, "keep": {"last": -1, "atLeast": 1}},
                        {"match": {"env": "prod"}, "keep": {"maxTotalSize": 1000, "atLeast": 1}},
                    ],
                    "action": "Delete",
                },
            ],
            "settleSeconds": 0.0,
            "openFiles": "Strict",
            "brakes": {"maxPercent": 100, "maxItems": 10**12, "maxBytes": 2**39, "onTrip": "Fail"},
            "quarantineSeconds": 1209600.0,
            "processes": 16,
            "operationsPerSecond": 1000000,
            "fsGroup": 2000,
            "pressure": {"highPercent": 100, "lowPercent": 99, "of": "Claim", "capacityBytes": 20 << 30},
            "holdSeconds": 31_536_000.0,
            "approvedInTime": False,
            "expectMarker": "postgres/.volume-id",
            "report": "/report/housekeeper",
            "reportKeepSeconds": 315360000.0,
        },
    }
    assert Task.from_json(task.to_json()) == task


def test_the_task_of_a_minimal_policy_has_all_defaults_written_out() -> None:
    policy = CleanupPolicy.from_object(table.valid()["minimal-policy"])
    task = cleanup_task(policy, run="now", attempt=1, mode="Enforce")
    assert json.loads(task.to_json()) == {
        "schemaVersion": 1,
        "run": "now",
        "namespace": "default",
        "policy": "minimal-policy",
        "attempt": 1,
        "mode": "Enforce",
        "timeZone": "Etc/UTC",
        "timeoutSeconds": 3600.0,
        "cleanup": {
            "root": "/volumes/target",
            "path": "",
            "rules": [
                {
                    "name": "temporary",
                    "include": ["**/*.tmp"],
                    "exclude": [],
                    "removeOlderThan": "30d",
                    "time": {"source": "ModificationTime", "format": ""},
                    "itemType": "File",
                    "ignoreIncomplete": False,
                    "removeEmptyDirectories": "Never",
                    "keepPerGroup": [],
                    "action": "Delete",
                }
            ],
            "settleSeconds": 600.0,
            "openFiles": "Protect",
            "brakes": {"maxPercent": 50, "onTrip": "Hold"},
            "holdSeconds": 604_800.0,
            "approvedInTime": False,
            "quarantineSeconds": 604800.0,
            "processes": 0,
            "operationsPerSecond": 0,
        },
    }
    assert Task.from_json(task.to_json()) == task


def test_sizes_are_whole_bytes_within_what_was_written() -> None:
    manifest = table.valid()["minimal-policy"]
    manifest["spec"]["rules"][0]["select"] |= {"minSize": "0.3", "maxSize": "1.2"}
    cleanup = cleanup_task(CleanupPolicy.from_object(manifest), run="now", attempt=1, mode="Enforce").cleanup
    assert cleanup is not None
    assert (cleanup.rules[0].min_size, cleanup.rules[0].max_size) == (1, 1)


def test_the_capacity_of_a_claim_is_told_to_whom_it_matters() -> None:
    manifest = table.valid()["minimal-policy"]
    manifest["spec"]["pressure"] = {"highPercent": 85, "lowPercent": 75}
    policy = CleanupPolicy.from_object(manifest)
    assert not needs_capacity(policy)
    task = cleanup_task(policy, run="now", attempt=1, mode="Enforce", capacity=1 << 30)
    assert json.loads(task.to_json())["cleanup"]["pressure"] == {
        "highPercent": 85,
        "lowPercent": 75,
        "of": "FileSystem",
    }


def test_the_task_of_a_check_has_its_thresholds_in_units_of_what_is_measured() -> None:
    check = HealthCheck.from_object(in_namespace("full-check"))
    task = health_task(check, run="hck-full-check-29000000", attempt=1)
    assert json.loads(task.to_json()) == {
        "schemaVersion": 1,
        "run": "hck-full-check-29000000",
        "namespace": "backups",
        "policy": "full-check",
        "attempt": 1,
        "mode": "DryRun",
        "timeZone": "America/Argentina/Buenos_Aires",
        "timeoutSeconds": 60.0,
        "health": {
            "checks": [
                {
                    "name": "memory",
                    "type": "Memory",
                    "mount": "",
                    "sampleSeconds": 0.0,
                    "thresholds": {
                        "used": {"warnAbove": 80.0, "failAbove": 90.5},
                        "available": {"warnBelow": 2147483648.0, "failBelow": 536870912.0},
                    },
                },
                {
                    "name": "cpu",
                    "type": "CPU",
                    "mount": "",
                    "sampleSeconds": 0.1,
                    "thresholds": {"used": {"warnAbove": 85.0, "failAbove": 100.0, "warnBelow": 2.0, "failBelow": 0.5}},
                },
                {
                    "name": "disk",
                    "type": "Filesystem",
                    "mount": "/volumes/data",
                    "sampleSeconds": 0.0,
                    "thresholds": {"used": {"failAbove": 0.0}, "inodesUsed": {"warnAbove": 90.0}},
                },
            ]
        },
    }
    assert Task.from_json(task.to_json()) == task


def test_a_check_without_thresholds_is_measured_all_the_same() -> None:
    task = health_task(HealthCheck.from_object(table.valid()["minimal-check"]), run="now", attempt=1)
    assert task.health is not None
    assert json.loads(task.to_json())["health"]["checks"][0]["thresholds"] == {"used": {}}


def test_rules_that_are_too_long_for_a_pod_are_told() -> None:
    policy = table.valid()["minimal-policy"]
    rules = [
        {"name": f"rule-{number}", "select": {"include": [f"{number}/{glob}/" + "x" * 480 for glob in range(64)]}}
        for number in range(8)
    ]
    policy["spec"]["rules"] = [{**rule, "removeOlderThan": "30d"} for rule in rules]
    [problem] = semantic_problems(CleanupPolicy.from_object(policy))
    assert problem.startswith("spec.rules: ")
    assert "more than the 192 KiB" in problem


def test_the_task_of_a_restore_has_the_volume_and_the_run() -> None:
    policy = CleanupPolicy.from_object(in_namespace("full-policy"))
    task = restore_task(
        policy, run="undo", attempt=1, mode="Enforce", of="clp-full-policy-29000000", paths=("**/*.tar",)
    )
    assert task.restore == Restore(
        "/volumes/target",
        "clp-full-policy-29000000",
        "backups",
        ("**/*.tar",),
        report="/report/housekeeper",
        report_keep_seconds=315360000.0,
    )
    assert (task.cleanup, task.timeout_seconds) == (None, 604800.0)
    assert Task.from_json(task.to_json()) == task

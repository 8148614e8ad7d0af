"""The audit of a run: in full on a report volume, else in the pod's log; in both cases with the head of the status."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

from housekeeper_worker.audit.verify import Verdict, verify
from tests.e2e.site import Site, cleanup_result, message, state

FILES = {"old-1.log": 60, "old-2.log": 60, "new.log": 1}


def events(audit: bytes) -> list[str]:
    lines: list[dict[str, Any]] = [json.loads(line) for line in audit.splitlines()]
    return [line["event"] for line in lines if line.get("event", "chain") != "chain"]


def verdict_of(audit: bytes, told: dict[str, Any]) -> Verdict:
    return verify(io.BytesIO(audit), told["head"])


def test_the_audit_is_on_the_report_volume_and_has_the_head_of_the_status(site: Site, volume) -> None:
    data, reports = volume(FILES), volume({})
    report = {"persistentVolumeClaim": {"claimName": reports.claim}, "path": "housekeeper", "keepFor": "30d"}
    site.cleanup_policy("logs", data.claim, mode="Enforce", report=report)
    run = site.run("wet", "CleanupPolicy", "logs")
    assert state(run) == "Succeeded", message(run)
    told = cleanup_result(run)["audit"]
    assert (told["to"], told["complete"]) == ("File", True)
    assert told["path"] == f"{site.namespace}/logs/wet-a1.ndjson"
    path = Path(reports.path, "housekeeper", told["path"])
    verdict = verdict_of(path.read_bytes(), told)
    assert (verdict.state, verdict.lines, verdict.concluded) == ("Whole", told["lines"], 1)
    assert events(path.read_bytes()) == ["start", "intent", "removed", "removed", "summary"]

    os.utime(path, (0, 0))
    again = site.run("again", "CleanupPolicy", "logs", mode="DryRun")
    assert state(again) == "Succeeded", message(again)
    assert not path.exists(), "a file older than keepFor stayed"


def test_a_restore_is_on_the_report_volume_too(site: Site, volume) -> None:
    data, reports = volume(FILES, owner=65532), volume({})
    report = {"persistentVolumeClaim": {"claimName": reports.claim}}
    rules = [{"name": "old", "select": {"include": ["**"]}, "removeOlderThan": "30d", "action": "Quarantine"}]
    site.cleanup_policy("logs", data.claim, mode="Enforce", report=report, rules=rules)
    moved = site.run("moved", "CleanupPolicy", "logs")
    assert cleanup_result(moved)["quarantined"] == 2, message(moved)
    undo = site.run("undo", "CleanupPolicy", "logs", action="Restore", restoreOf="moved")
    assert state(undo) == "Succeeded", message(undo)
    told = undo["status"]["result"]["restore"]["audit"]
    assert (told["to"], told["path"]) == ("File", f"{site.namespace}/logs/undo-a1.ndjson")
    audit = Path(reports.path, told["path"]).read_bytes()
    assert verdict_of(audit, told).state == "Whole"
    assert events(audit) == ["start", "restore", "restored", "restored", "summary"]


def test_without_a_report_volume_the_audit_is_in_the_log_of_the_pod(site: Site, volume) -> None:
    data = volume(FILES)
    site.cleanup_policy("logs", data.claim, mode="Enforce")
    run = site.run("wet", "CleanupPolicy", "logs")
    assert state(run) == "Succeeded", message(run)
    told = cleanup_result(run)["audit"]
    assert (told["to"], told["complete"]) == ("Log", True)
    pod = run["status"]["attempts"][0]["pods"][0]["name"]
    _, log = site.api.raw("GET", f"{site.path('Pod', pod)}/log")
    verdict = verdict_of(log, told)
    assert (verdict.state, verdict.lines) == ("Whole", told["lines"])
    assert events(log).count("removed") == 2

"""Slots of a schedule: they fire, they wait, and those that are past stay past."""

from __future__ import annotations

import time
from datetime import timedelta

from tests.e2e.site import EVERY_MINUTE, NEVER, Site, condition_of, message, now, state


def slot_runs(site: Site, policy: str) -> list[dict]:
    return [run for run in site.runs_of(policy) if run["spec"].get("trigger") == "Schedule"]


def past_slot(minutes: int) -> str:
    """A schedule whose only slot of today was some minutes ago."""
    moment = now() - timedelta(minutes=minutes)
    return f"{moment.minute} {moment.hour} * * *"


def test_a_schedule_of_every_minute_fires_and_runs_by_hand_stand_beside_it(site: Site, volume) -> None:
    data = volume({"a.log": 60}, owner=65532)
    site.cleanup_policy("minutely", data.claim, schedule=EVERY_MINUTE)
    ready = site.ready("CleanupPolicy", "minutely")
    assert ready["status"]["schedule"] == EVERY_MINUTE
    assert ready["status"]["nextRunTime"]

    manual = site.run("by-hand", "CleanupPolicy", "minutely")
    assert state(manual) == "Succeeded", message(manual)
    assert manual["spec"]["trigger"] == "Manual"
    runs = site.wait_for(
        lambda: [run for run in slot_runs(site, "minutely") if state(run) == "Succeeded"], 100, "run of a slot"
    )
    assert runs[0]["metadata"]["ownerReferences"][0]["kind"] == "CleanupPolicy"
    status = site.wait(
        "CleanupPolicy", "minutely", lambda obj: obj["status"]["totals"]["runs"] >= 2, 20, "counted twice"
    )["status"]
    assert status["lastScheduleTime"]
    assert status["lastRun"]["trigger"] == "Schedule"
    # The Job of a harvested run goes by itself; before, it had no TTL.
    (job,) = [job for job in site.list("Job") if job["metadata"]["name"] == runs[0]["metadata"]["name"]]
    harvested = site.wait(
        "Job", job["metadata"]["name"], lambda obj: "ttlSecondsAfterFinished" in obj.get("spec", {}), 20, "given a TTL"
    )
    assert harvested["metadata"]["labels"]["housekeeper.dev/recorded"] == "true"


def test_an_edit_does_not_fire_a_slot_that_is_past(site: Site) -> None:
    site.slow_check("edited", 1, schedule=NEVER, startingDeadline="1h")
    site.ready("HealthCheck", "edited")
    site.patch("HealthCheck", "edited", {"spec": {"schedule": past_slot(2)}})
    site.ready("HealthCheck", "edited")
    # The controller would fire such a slot at the next unrelated change of the CronJob.
    site.patch("CronJob", "hck-edited", {"metadata": {"labels": {"unrelated": "change"}}})
    fired = []
    end = time.monotonic() + 20
    while time.monotonic() < end:
        fired = site.list("Pod")
        assert not fired, "a slot of the past ran"
        time.sleep(1)
    for run in slot_runs(site, "edited"):
        assert state(run) == "Skipped", message(run)
        assert run["status"]["queue"]["reason"] == "StaleSlot"


def test_unsuspending_does_not_fire_what_was_missed(site: Site) -> None:
    site.slow_check("paused", 1, schedule=past_slot(2), suspend=True)
    paused = site.ready("HealthCheck", "paused")
    assert condition_of(paused, "Ready")["reason"] == "Suspended"
    assert "nextRunTime" not in paused["status"]
    site.patch("HealthCheck", "paused", {"spec": {"suspend": False}})
    site.ready("HealthCheck", "paused")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert not site.list("Pod"), "a slot of the past ran"
        time.sleep(1)
    for run in slot_runs(site, "paused"):
        assert state(run) == "Skipped"


def test_a_queued_job_follows_edits_and_a_deleted_one_is_skipped(site: Site, volume) -> None:
    """One policy keeps the volume busy, so that the slot of the other waits; meanwhile the other is edited."""
    data = volume({"a.log": 60, "b.tmp": 60}, owner=65532)
    # Nothing of this policy may run at all: its place is taken by a run whose pod cannot start.
    site.cleanup_policy(
        "busy", data.claim, pendingTimeout="10m", pod={"nodeSelector": {"disk": "golden"}}, schedule=NEVER
    )
    site.start("holder", "CleanupPolicy", "busy")
    site.in_state("holder", "Admitted")

    site.cleanup_policy("waiting", data.claim, schedule=EVERY_MINUTE, mode="DryRun")
    (run,) = site.wait_for(lambda: slot_runs(site, "waiting"), 100, "run of a slot")
    name = run["metadata"]["name"]
    queued = site.wait(
        "MaintenanceRun", name, lambda obj: bool(obj.get("status", {}).get("queue")), 20, "told why it waits"
    )
    assert queued["status"]["queue"]["reason"] == "VolumeBusy"
    assert "holder" in queued["status"]["queue"]["message"]
    job = site.get("Job", name)
    assert job["spec"]["suspend"] is True
    assert "housekeeper.dev/recorded" not in job["metadata"]["labels"]

    # Rules and mode change while it waits: what runs then is what the policy says then.
    rules = [{"name": "tmp", "select": {"include": ["*.tmp"]}, "removeOlderThan": "30d"}]
    site.patch("CleanupPolicy", "waiting", {"spec": {"mode": "Enforce", "rules": rules, "schedule": EVERY_MINUTE}})
    site.ready("CleanupPolicy", "waiting")
    site.patch("MaintenanceRun", "holder", {"spec": {"cancel": True}})
    ended = site.ended(name)
    assert state(ended) == "Succeeded", message(ended)
    assert ended["status"]["mode"] == "Enforce"
    assert data.names() == {"a.log"}


def test_suspend_skips_what_is_queued_and_a_deleted_job_fires_nothing_past(site: Site, volume) -> None:
    data = volume({"a.log": 60}, owner=65532)
    site.cleanup_policy("busy", data.claim, pendingTimeout="10m", pod={"nodeSelector": {"disk": "golden"}})
    site.start("holder", "CleanupPolicy", "busy")
    site.in_state("holder", "Admitted")
    site.cleanup_policy("waiting", data.claim, schedule=EVERY_MINUTE)
    (run,) = site.wait_for(lambda: slot_runs(site, "waiting"), 100, "run of a slot")
    name = run["metadata"]["name"]
    site.in_state(name, "Queued")
    # Into the next minute, so that a slot is missed behind the queued Job.
    time.sleep(61 - now().second % 60)
    site.delete("Job", name)
    skipped = site.ended(name)
    assert state(skipped) == "Skipped"
    assert skipped["status"]["queue"]["reason"] == "JobDeleted"
    # A slot that passed while the first was queued may get a Job, and that is skipped; the next one to come is not.
    later = site.wait_for(
        lambda: [run for run in slot_runs(site, "waiting") if state(run) == "Queued"], 100, "run of the next slot"
    )
    slot = int(later[0]["metadata"]["name"].rpartition("-")[2])
    deleted_at = skipped["status"]["completionTime"]
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(slot * 60)) >= deleted_at
    for other in slot_runs(site, "waiting"):
        if other["metadata"]["name"] not in {name, later[0]["metadata"]["name"]}:
            assert state(other) == "Skipped"
            assert other["status"]["queue"]["reason"] == "StaleSlot"

    site.patch("CleanupPolicy", "waiting", {"spec": {"suspend": True}})
    suspended = site.ended(later[0]["metadata"]["name"])
    assert state(suspended) == "Skipped"
    assert suspended["status"]["queue"]["reason"] == "Suspended"
    assert site.get("CleanupPolicy", "waiting")["status"]["lastSkip"]["reason"] == "Suspended"


def test_an_edited_schedule_and_a_deleted_run_end_what_is_queued(site: Site, volume) -> None:
    data = volume({"a.log": 60}, owner=65532)
    site.cleanup_policy("busy", data.claim, pendingTimeout="10m", pod={"nodeSelector": {"disk": "golden"}})
    site.start("holder", "CleanupPolicy", "busy")
    site.in_state("holder", "Admitted")
    for name in ("edited", "dropped"):
        site.cleanup_policy(name, data.claim, schedule=EVERY_MINUTE)
    edited = site.wait_for(lambda: slot_runs(site, "edited"), 100, "run of a slot")[0]["metadata"]["name"]
    dropped = site.wait_for(lambda: slot_runs(site, "dropped"), 100, "run of a slot")[0]["metadata"]["name"]
    site.in_state(edited, "Queued")
    site.in_state(dropped, "Queued")

    site.patch("CleanupPolicy", "edited", {"spec": {"schedule": NEVER}})
    skipped = site.ended(edited)
    assert state(skipped) == "Skipped"
    assert skipped["status"]["queue"]["reason"] == "StaleSlot"

    # Its Job goes with it, and the schedule goes on: the next slot is queued in its turn.
    site.delete("MaintenanceRun", dropped)
    site.wait_for(lambda: site.find("Job", dropped) is None, 30, "end of the Job whose run was deleted")
    site.wait_for(
        lambda: [run for run in slot_runs(site, "dropped") if state(run) == "Queued"], 130, "run of the next slot"
    )


def test_deleting_a_policy_takes_along_what_it_owned(site: Site, volume) -> None:
    data = volume({"a.log": 60}, owner=65532)
    site.cleanup_policy("gone", data.claim)
    site.run("one", "CleanupPolicy", "gone")
    site.delete("CleanupPolicy", "gone")
    for kind in ("CronJob", "MaintenanceRun", "Job", "Pod"):
        site.wait_for(lambda kind=kind: not site.list(kind), 30, f"end of every {kind}")


def test_history_keeps_the_newest_runs_only(site: Site, volume) -> None:
    data = volume({"a.log": 60}, owner=65532)
    site.cleanup_policy("short", data.claim, history={"succeeded": 1, "failed": 0, "ttl": "7d"})
    for name in ("first", "second", "third"):
        site.run(name, "CleanupPolicy", "short")
    site.wait_for(
        lambda: [run["metadata"]["name"] for run in site.runs_of("short")] == ["third"], 30, "history of one run"
    )
    assert site.get("CleanupPolicy", "short")["status"]["totals"]["runs"] == 3

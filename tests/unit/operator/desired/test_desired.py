"""Each desired object as it is sent, and what of it may differ without being another."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from housekeeper_api import names
from housekeeper_api.maintenance_run import MaintenanceRun
from housekeeper_operator.decisions.views import JobView, Object, RunView
from housekeeper_operator.desired.cron_job import build_cron_job, is_current, merge_into
from housekeeper_operator.desired.job import build_admission, build_job, template_hash
from housekeeper_operator.desired.run import build_scheduled_run
from housekeeper_operator.policies import Policy
from tests.unit.operator.builders import NOW, ago, job, later, merge, run
from tests.unit.operator.desired.conftest import IMAGE, cleanup_policy, health_check


def cron_job(policy: Policy, owner: Object, **changes: Any) -> Object:
    members: dict[str, Any] = {
        "schedule": "17 3 * * *",
        "time_zone": "Europe/Berlin",
        "suspend": False,
        "starting_deadline_seconds": 3600,
        "template": policy.template(policy.mode, IMAGE),
        "slots_since": NOW,
    }
    return build_cron_job(owner, policy.kind, **members | changes)


def test_the_pod_of_a_dry_run(policy: Policy, snapshot: SnapshotAssertion) -> None:
    assert policy.template("DryRun", IMAGE) == snapshot


def test_the_pod_of_an_enforcing_run_with_all_options(full_policy: Policy, snapshot: SnapshotAssertion) -> None:
    assert full_policy.template("Enforce", IMAGE) == snapshot


def test_the_pod_of_a_check(check: Policy, snapshot: SnapshotAssertion) -> None:
    assert check.template("DryRun", IMAGE) == snapshot


def test_the_cron_job_of_a_policy(policy: Policy, snapshot: SnapshotAssertion) -> None:
    assert cron_job(policy, cleanup_policy()) == snapshot


def test_the_job_of_an_attempt(full_policy: Policy, snapshot: SnapshotAssertion) -> None:
    of = run("by-hand").view()
    assert build_job(of, full_policy.kind, full_policy.template("Enforce", IMAGE), 2) == snapshot


def test_the_patch_that_admits(full_policy: Policy, snapshot: SnapshotAssertion) -> None:
    template = full_policy.template("Enforce", IMAGE)
    queued = job()._with("spec", "template", value=copy.deepcopy(template))
    queued = queued._with("spec", "template", "spec", "nodeSelector", value={"old": "gone"})
    queued = queued._with("spec", "template", "metadata", "annotations", value={"example.com/old": "gone"})
    assert build_admission(run("by-hand").view(), queued.obj, template, "the task") == snapshot


def test_the_run_of_a_slot(snapshot: SnapshotAssertion) -> None:
    obj = build_scheduled_run("CleanupPolicy", cleanup_policy(), job("clp-backups-29740000").slot(NOW).obj, "7d")
    assert obj == snapshot
    MaintenanceRun.from_object(obj)


def test_the_run_of_a_job_made_from_the_cron_job_by_hand_is_manual() -> None:
    obj = build_scheduled_run("HealthCheck", health_check(), job("mine").obj, "1h")
    assert obj["spec"]["trigger"] == "Manual"
    assert names.SCHEDULED_TIMESTAMP_ANNOTATION not in obj["metadata"]["annotations"]
    MaintenanceRun.from_object(obj)


# Pods.


@pytest.mark.parametrize(("of_policy", "mode"), [("DryRun", "DryRun"), ("Enforce", "DryRun"), ("Enforce", "Enforce")])
def test_only_an_enforcing_run_can_write_to_the_volume(full_policy: Policy, of_policy: str, mode: Any) -> None:
    spec = full_policy.template(mode, IMAGE)["spec"]
    [claim] = [volume["persistentVolumeClaim"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
    [mount] = [item for item in spec["containers"][0]["volumeMounts"] if item["mountPath"] == names.TARGET_MOUNT]
    dry = mode == "DryRun"
    assert claim.get("readOnly", False) == mount.get("readOnly", False) == dry
    assert mount.get("recursiveReadOnly") == ("IfPossible" if dry else None)


@pytest.mark.parametrize("which", ["policy", "full_policy", "check"])
def test_every_pod_meets_the_restricted_level(which: str, request: pytest.FixtureRequest) -> None:
    spec = request.getfixturevalue(which).template("DryRun", IMAGE)["spec"]
    [container] = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert all(
        set(volume) <= {"name", "persistentVolumeClaim", "downwardAPI", "emptyDir"} for volume in spec["volumes"]
    )
    assert "fsGroup" not in spec["securityContext"]


def test_a_policy_cannot_take_our_labels(full_policy: Policy) -> None:
    template = full_policy.template("Enforce", IMAGE)
    assert template["metadata"]["labels"] == {
        "team": "storage",
        names.MANAGED_BY_LABEL: "housekeeper",
        names.KIND_LABEL: "CleanupPolicy",
        names.POLICY_LABEL: "backups",
    }


def test_a_cleaner_has_scratch_of_a_limited_size_and_a_check_has_none(policy: Policy, check: Policy) -> None:
    limited = dataclasses.replace(IMAGE, scratch_size="2Gi")
    spec = policy.template("DryRun", limited)["spec"]
    assert {"name": "scratch", "emptyDir": {"sizeLimit": "2Gi"}} in spec["volumes"]
    assert spec["containers"][0]["env"] == [{"name": "HOUSEKEEPER_SCRATCH_LIMIT", "value": str(2 << 30)}]
    assert all("env" not in one.template("DryRun", IMAGE)["spec"]["containers"][0] for one in (policy, check))
    assert {"name": "scratch", "mountPath": "/scratch"} in spec["containers"][0]["volumeMounts"]
    assert {"name": "scratch", "emptyDir": {}} in policy.template("DryRun", IMAGE)["spec"]["volumes"]
    assert all(volume["name"] != "scratch" for volume in check.template("DryRun", limited)["spec"]["volumes"])


# What the admitting patch can still change is no other template; the rest is.


@pytest.mark.parametrize(
    ("path", "value", "same"),
    [
        (("metadata", "labels"), {"a": "b"}, True),
        (("metadata", "annotations"), {"a": "b"}, True),
        (("spec", "nodeSelector"), {"disk": "slow"}, True),
        (("spec", "tolerations"), [], True),
        (("spec", "activeDeadlineSeconds"), 1, False),
        (("spec", "priorityClassName"), "high", False),
        (("spec", "volumes"), [], False),
        (("spec", "containers"), [], False),
        (("spec", "securityContext"), {}, False),
    ],
)
def test_a_job_is_replaced_where_no_patch_can_change_it(
    full_policy: Policy, path: tuple[str, str], value: Any, same: bool
) -> None:
    template = full_policy.template("Enforce", IMAGE)
    changed = copy.deepcopy(template)
    changed[path[0]][path[1]] = value
    assert (template_hash(changed) == template_hash(template)) is same


def test_admission_leaves_exactly_what_the_template_says(full_policy: Policy, policy: Policy) -> None:
    of = run("by-hand").view()
    for old, new in ((full_policy, policy), (policy, full_policy)):
        queued = build_job(of, "CleanupPolicy", old.template("DryRun", IMAGE), 1)
        system = {"job-name": "x", "controller-uid": "y", "batch.kubernetes.io/job-name": "x"}
        queued["spec"]["template"]["metadata"]["labels"] |= system
        wanted = new.template("DryRun", IMAGE)
        started = merge(queued, build_admission(of, queued, wanted, "the task"))
        assert started["spec"]["suspend"] is False
        assert started["spec"]["template"]["metadata"]["annotations"] == {
            **wanted["metadata"]["annotations"],
            names.TASK_ANNOTATION: "the task",
        }
        assert started["spec"]["template"]["metadata"]["labels"] == {
            **wanted["metadata"]["labels"],
            **system,
            names.RUN_LABEL: "by-hand",
        }
        for member in ("nodeSelector", "tolerations"):
            assert (started["spec"]["template"]["spec"].get(member) or None) == wanted["spec"].get(member)


# Names and labels, whatever the run is called.

SUBDOMAINS = st.from_regex(
    r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?){0,9}", fullmatch=True
)


@given(name=SUBDOMAINS.filter(lambda name: len(name) <= 253), attempt=st.integers(1, 10))
def test_any_name_of_a_run_makes_names_and_labels_that_the_api_takes(name: str, attempt: int) -> None:
    template: Object = {"metadata": {"labels": {}, "annotations": {}}, "spec": {}}
    made = build_job(run(name).view(), "CleanupPolicy", template, attempt)
    label = made["metadata"]["labels"][names.RUN_LABEL]
    assert len(made["metadata"]["name"]) <= 63
    assert len(label) <= 63
    for text in (made["metadata"]["name"], label):
        assert text[0].isalnum()
        assert text[-1].isalnum()
        assert ".-" not in text
        assert "-." not in text.replace(name[:54], "")
    assert (
        made["metadata"]["name"]
        != build_job(run(name).view(), "CleanupPolicy", template, attempt + 1)["metadata"]["name"]
    )


def test_a_run_made_again_under_its_name_meets_none_of_its_old_jobs(policy: Policy) -> None:
    template = policy.template("DryRun", IMAGE)
    old = run("nightly")
    new = old._with("metadata", "uid", value="another")
    made = [build_job(RunView.of(one.obj), "CleanupPolicy", template, 1)["metadata"]["name"] for one in (old, new)]
    assert made[0] != made[1]


# CronJobs: what is there already is not written again.


def served(obj: Object) -> Object:
    """As the API server has it: with defaults, quantities in its own way, and without what is empty."""

    def stored(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: stored(item) for key, item in value.items() if item not in (None, {}, [], "")}
            return kept | {"addedByTheServer": True}
        if isinstance(value, list):
            return [stored(item) for item in value]
        return {"0.5": "500m", "0.0001": "100u"}.get(value, value) if isinstance(value, str) else value

    served = stored(json.loads(json.dumps(obj)))
    served["metadata"] |= {"resourceVersion": "12", "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": []}
    served["spec"].setdefault("suspend", False)
    return dict(served)


@pytest.mark.parametrize("which", ["policy", "full_policy", "check"])
def test_a_cron_job_that_says_it_all_is_current(which: str, request: pytest.FixtureRequest) -> None:
    policy = request.getfixturevalue(which)
    desired = cron_job(policy, cleanup_policy())
    assert is_current(served(desired), desired)


def test_very_small_quantities_are_read_as_the_server_writes_them() -> None:
    resources = {"requests": {"cpu": "0.0001"}, "limits": {"memory": "2048Mi"}}
    existing = {"requests": {"cpu": "100u"}, "limits": {"memory": "2Gi"}}
    desired = {"metadata": {}, "spec": resources}
    assert is_current({"metadata": {}, "spec": existing}, desired)
    assert not is_current({"metadata": {}, "spec": {**existing, "limits": {"memory": "1Gi"}}}, desired)


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": "18 3 * * *"},
        {"time_zone": "Etc/UTC"},
        {"suspend": True},
        {"starting_deadline_seconds": 60},
        {"slots_since": later(seconds=1)},
    ],
)
def test_a_cron_job_that_says_something_else_is_not_current(policy: Policy, change: dict[str, Any]) -> None:
    existing = served(cron_job(policy, cleanup_policy()))
    assert not is_current(existing, cron_job(policy, cleanup_policy(), **change))


def test_what_is_no_longer_wanted_makes_a_cron_job_another(policy: Policy, full_policy: Policy) -> None:
    existing = served(cron_job(full_policy, cleanup_policy()))
    assert not is_current(existing, cron_job(policy, cleanup_policy()))


def test_an_edit_by_another_hand_is_seen(policy: Policy) -> None:
    desired = cron_job(policy, cleanup_policy())
    edited = served(desired)
    edited["spec"]["jobTemplate"]["spec"]["suspend"] = False
    assert not is_current(edited, desired)
    edited = served(desired)
    edited["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"].append({"name": "beside"})
    assert not is_current(edited, desired)


def test_labels_and_annotations_of_others_are_left() -> None:
    existing = {
        "metadata": {
            "name": "clp-backups",
            "namespace": "team",
            "resourceVersion": "12",
            "labels": {"theirs": "1", "ours": "old"},
            "annotations": {"theirs": "1"},
            "managedFields": [{}],
        },
        "spec": {"schedule": "old"},
        "status": {"active": []},
    }
    desired = {
        "metadata": {"labels": {"ours": "new"}, "annotations": {"a": "b"}, "ownerReferences": []},
        "spec": {"schedule": "new"},
    }
    merged = merge_into(existing, desired)
    assert merged["metadata"] == {
        "name": "clp-backups",
        "namespace": "team",
        "resourceVersion": "12",
        "labels": {"theirs": "1", "ours": "new"},
        "annotations": {"theirs": "1", "a": "b"},
        "ownerReferences": [],
    }
    assert merged["spec"] == {"schedule": "new"}


def test_a_queued_job_of_the_cron_job_shows_whether_it_is_current(policy: Policy) -> None:
    template = cron_job(policy, cleanup_policy())["spec"]["jobTemplate"]
    made = {
        "metadata": {"name": "clp-backups-1", "namespace": "team", **template["metadata"]},
        "spec": template["spec"],
    }
    view = JobView.of(made)
    assert view.suspended
    assert view.template_hash == template_hash(policy.template("DryRun", IMAGE))
    assert view.template_hash != template_hash(policy.template("Enforce", IMAGE))
    assert view.target_claim == "data"


def test_times_in_annotations_are_whole_seconds(policy: Policy) -> None:
    made = cron_job(policy, cleanup_policy(), slots_since=ago(seconds=-0.9))
    assert made["metadata"]["annotations"][names.SLOTS_SINCE_ANNOTATION] == "2026-11-22T12:00:00Z"

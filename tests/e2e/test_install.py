"""Installed for all namespaces or for some, upgraded, uninstalled: nothing is left stuck."""

from __future__ import annotations

from tests.e2e.site import Site, message, state


def test_limited_to_a_namespace_it_serves_that_one_only(site: Site, operator, second_namespace: str) -> None:
    other = Site(site.api, second_namespace)
    with operator.with_values({"watchNamespaces": "{" + site.namespace + "}"}):
        site.slow_check("served", 1)
        other.slow_check("not-served", 1)
        assert state(site.run("served", "HealthCheck", "served")) == "Succeeded"
        assert "status" not in other.get("HealthCheck", "not-served")
        assert not other.list("CronJob")
    # Back to the whole cluster: what was left out is picked up.
    other.ready("HealthCheck", "not-served", timeout=60)


def test_helm_uninstall_leaves_nothing_stuck(site: Site, volume, operator) -> None:
    data = volume({"a.log": 60}, owner=65532)
    site.cleanup_policy("logs", data.claim)
    site.run("one", "CleanupPolicy", "logs")
    with operator.uninstalled():
        # The kinds stay (crds.keep), and so does what users wrote; all of it can be deleted without an operator.
        assert site.find("CleanupPolicy", "logs") is not None
        assert "finalizers" not in site.get("CleanupPolicy", "logs")["metadata"]
        assert "finalizers" not in site.get("MaintenanceRun", "one")["metadata"]
        site.delete("CleanupPolicy", "logs")
        for kind in ("CleanupPolicy", "CronJob", "MaintenanceRun", "Job", "Pod"):
            site.wait_for(lambda kind=kind: not site.list(kind), 30, f"end of every {kind}")
    site.cleanup_policy("again", data.claim)
    run = site.run("again", "CleanupPolicy", "again")
    assert state(run) == "Succeeded", message(run)


def test_a_worker_image_that_cannot_be_pulled_is_named(site: Site, operator) -> None:
    with operator.with_values({"worker.image.tag": "no-such-release"}):
        site.slow_check("imageless", 1, pendingTimeout="15s")
        run = site.run("imageless", "HealthCheck", "imageless")
        assert state(run) == "Failed"
        assert run["status"]["attempts"][-1]["reason"] == "ImagePullFailed", run["status"]
        assert "no-such-release" in message(run)
        assert "worker.image" in message(run)
    # The image is right again, and with it the Job of the next run.
    assert state(site.run("mended", "HealthCheck", "imageless")) == "Succeeded"

"""What the chart makes of its values."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml

from workshop import chart


def rendered(*arguments: str) -> list[dict[str, Any]]:
    return [thing for thing in yaml.safe_load_all(chart.render(*arguments)) if thing]


def only(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [thing for thing in objects if thing["kind"] == kind]
    return found


def kinds(objects: list[dict[str, Any]]) -> set[str]:
    return {thing["kind"] for thing in objects}


def environment(objects: list[dict[str, Any]]) -> dict[str, Any]:
    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def test_the_operator_meets_pod_security_restricted() -> None:
    pod = only(rendered(), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"]
    assert container["resources"]["limits"]["memory"]
    assert {"livenessProbe", "readinessProbe", "startupProbe"} <= container.keys()


@pytest.mark.parametrize(
    ("arguments", "variable", "expected"),
    [
        ((), "HOUSEKEEPER_WORKER_IMAGE", "housekeeper-worker:0.1.0"),
        (
            ("--set", "imageRegistry=registry.example.com/team/"),
            "HOUSEKEEPER_WORKER_IMAGE",
            "registry.example.com/team/housekeeper-worker:0.1.0",
        ),
        (
            ("--set", f"worker.image.digest=sha256:{'0' * 64}"),
            "HOUSEKEEPER_WORKER_IMAGE",
            f"housekeeper-worker@sha256:{'0' * 64}",
        ),
        (("--set", "worker.image.pullPolicy=Never"), "HOUSEKEEPER_WORKER_IMAGE_PULL_POLICY", "Never"),
        ((), "HOUSEKEEPER_WORKER_SCRATCH_SIZE", "4Gi"),
        (("--set-string", "worker.scratchSize=0"), "HOUSEKEEPER_WORKER_SCRATCH_SIZE", "0"),
        ((), "HOUSEKEEPER_NAMESPACES", ""),
        (("--set", "watchNamespaces={one,two}"), "HOUSEKEEPER_NAMESPACES", "one,two"),
        (("--set", "maxConcurrentRuns=3"), "HOUSEKEEPER_MAX_CONCURRENT_RUNS", "3"),
        (("--set", "jobTTL=30m"), "HOUSEKEEPER_JOB_TTL", "30m"),
        (("--set", "logLevel=debug"), "HOUSEKEEPER_LOG_LEVEL", "debug"),
        (("--set", "leaderElection.leaseDuration=30s"), "HOUSEKEEPER_LEASE_DURATION", "30s"),
        ((), "HOUSEKEEPER_NAMESPACE", {"fieldRef": {"fieldPath": "metadata.namespace"}}),
        ((), "HOUSEKEEPER_POD_NAME", {"fieldRef": {"fieldPath": "metadata.name"}}),
    ],
)
def test_values_reach_the_operator(arguments: tuple[str, ...], variable: str, expected: Any) -> None:
    assert environment(rendered(*arguments))[variable] == expected


def test_every_variable_is_one_that_the_operator_reads() -> None:
    from housekeeper_operator.settings import Settings

    found = environment(rendered("--set", "watchNamespaces={one}", "--set", "imageRegistry=registry.example.com"))
    plain = {name: value if isinstance(value, str) else "some-name" for name, value in found.items()}
    settings = Settings.from_environment(plain)
    assert settings.namespaces == ("one",)
    assert {name.removeprefix("HOUSEKEEPER_").lower() for name in found} <= set(Settings.__dataclass_fields__)


def test_one_replica_needs_no_budget_and_two_are_spread() -> None:
    one = rendered()
    assert "PodDisruptionBudget" not in kinds(one)
    assert "affinity" not in only(one, "Deployment")["spec"]["template"]["spec"]
    two = rendered("--set", "replicas=2")
    assert only(two, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    pod = only(two, "Deployment")["spec"]["template"]["spec"]
    assert pod["affinity"]["podAntiAffinity"]
    assert pod["topologySpreadConstraints"]


def test_selectors_do_not_change_with_the_version_or_extra_labels() -> None:
    plain = only(rendered(), "Deployment")["spec"]["selector"]
    assert only(rendered("--set", "labels.team=storage"), "Deployment")["spec"]["selector"] == plain
    assert set(plain["matchLabels"]) == {
        "app.kubernetes.io/name",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/component",
    }


def test_extra_labels_are_on_every_object() -> None:
    for thing in rendered("--set", "labels.team=storage", "--set", "replicas=2", "--set", "networkPolicy.enabled=true"):
        assert thing["metadata"]["labels"]["team"] == "storage", thing["kind"]


def test_custom_resource_definitions_are_kept_unless_told_otherwise() -> None:
    kept = [thing for thing in rendered() if thing["kind"] == "CustomResourceDefinition"]
    assert {thing["spec"]["names"]["kind"] for thing in kept} == {"CleanupPolicy", "HealthCheck", "MaintenanceRun"}
    assert all(thing["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for thing in kept)
    for thing in rendered("--set", "crds.keep=false"):
        assert "helm.sh/resource-policy" not in thing["metadata"].get("annotations", {})
    assert "CustomResourceDefinition" not in kinds(rendered("--set", "crds.enabled=false"))


def test_custom_resource_definitions_come_through_unchanged() -> None:
    with_helm = {
        thing["metadata"]["name"]: thing for thing in rendered() if thing["kind"] == "CustomResourceDefinition"
    }
    for path, text in chart.crd_copies().items():
        source = yaml.safe_load(text)
        assert with_helm[source["metadata"]["name"]]["spec"] == source["spec"], path


def test_a_service_monitor_selects_the_service() -> None:
    objects = rendered(
        "--set", "metrics.serviceMonitor.enabled=true", "--set", "metrics.serviceMonitor.labels.release=prometheus"
    )
    monitor, service = only(objects, "ServiceMonitor"), only(objects, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--set", "logLevel=loud"), "logLevel"),
        (("--set", "replica=2"), "replica"),
        (("--set", "maxConcurrentRuns=0"), "maxConcurrentRuns"),
        (("--set", "watchNamespaces={Not_A_Name}"), "watchNamespaces"),
        (("--set", "image.digest=latest"), "digest"),
        (("--set", "jobTTL=soon"), "jobTTL"),
        (("--set", "worker.scratchSize=4 GB"), "scratchSize"),
        (
            ("--set", "metrics.serviceMonitor.enabled=true", "--set", "metrics.service.enabled=false"),
            "metrics.service.enabled",
        ),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        chart.render(*arguments)
    assert sentence in refused.value.stderr

"""The rights that the chart grants are those that docs/rbac.md explains, and never more."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from workshop import chart
from workshop.project import read

Grant = tuple[str, str, str]
"""API group, resource, verb."""


def rendered(*arguments: str) -> list[dict[str, Any]]:
    return [thing for thing in yaml.safe_load_all(chart.render(*arguments)) if thing]


def grants(rules: list[dict[str, Any]]) -> set[Grant]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def named(objects: list[dict[str, Any]], kind: str, suffix: str = "") -> list[dict[str, Any]]:
    return [thing for thing in objects if thing["kind"] == kind and thing["metadata"]["name"].endswith(suffix)]


def documented(heading: str) -> set[Grant]:
    """The table rows (group, resources, verbs, why) of one section of docs/rbac.md."""
    section = re.split(r"^## ", read("docs/rbac.md"), flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(heading))
    found = set()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4 or cells[0] in {"API group", "---"}:
            continue
        group = "" if cells[0] == "(core)" else cells[0].strip("`")
        resources = re.findall(r"`([a-z/]+)`", re.sub(r"\(.*\)", "", cells[1]))
        assert cells[3], f"no reason is given for {cells[1]}"
        found |= {(group, resource, verb.strip()) for resource in resources for verb in cells[2].split(",")}
    return found


def test_the_table_is_what_the_chart_grants() -> None:
    objects = rendered()
    cluster_wide = named(objects, "ClusterRole", "housekeeper")[0]["rules"]
    leadership = named(objects, "Role", "-leader")[0]["rules"]
    assert grants(cluster_wide) | grants(leadership) == documented("The operator")


def test_named_namespaces_get_the_same_rights_and_the_cluster_none() -> None:
    everywhere = named(rendered(), "ClusterRole", "housekeeper")[0]["rules"]
    objects = rendered("--set", "watchNamespaces={one,two}")
    roles = [role for role in named(objects, "Role") if not role["metadata"]["name"].endswith("-leader")]
    assert {role["metadata"]["namespace"] for role in roles} == {"one", "two"}
    assert all(role["rules"] == everywhere for role in roles)
    assert named(objects, "ClusterRoleBinding") == []
    assert {role["metadata"]["name"].rsplit("-", 1)[1] for role in named(objects, "ClusterRole")} == {
        *("view", "edit", "admin")
    }
    bindings = [thing for thing in named(objects, "RoleBinding") if thing["metadata"]["namespace"] in {"one", "two"}]
    assert all(subject["namespace"] == "housekeeper-system" for thing in bindings for subject in thing["subjects"])


@pytest.mark.parametrize("arguments", [(), ("--set", "watchNamespaces={one}")], ids=["cluster-wide", "one namespace"])
def test_nothing_is_granted_by_a_wildcard_nor_on_secrets(arguments: tuple[str, ...]) -> None:
    for role in named(rendered(*arguments), "ClusterRole") + named(rendered(*arguments), "Role"):
        for group, resource, verb in grants(role["rules"]):
            assert "*" not in {group, resource, verb}, role["metadata"]["name"]
            assert resource != "secrets"
            assert verb not in {"escalate", "bind", "impersonate"}


def test_lease_rights_are_limited_to_one_lease() -> None:
    rules = named(rendered("--set", "leaderElection.leaseName=mine"), "Role", "-leader")[0]["rules"]
    for rule in rules:
        assert rule.get("resourceNames") == (None if rule["verbs"] == ["create"] else ["mine"])


def test_view_and_edit_cover_the_kinds_and_write_no_status() -> None:
    objects = rendered()
    view, edit = named(objects, "ClusterRole", "-view")[0], named(objects, "ClusterRole", "-edit")[0]
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    assert {label for label in view["metadata"]["labels"] if label.startswith(aggregate)} == {
        aggregate + role for role in ("view", "edit", "admin")
    }
    assert {label for label in edit["metadata"]["labels"] if label.startswith(aggregate)} == {
        aggregate + role for role in ("edit", "admin")
    }
    kinds = {"cleanuppolicies", "healthchecks", "maintenanceruns"}
    assert {verb for _, _, verb in grants(view["rules"])} == {"get", "list", "watch"}
    assert {resource for _, resource, _ in grants(edit["rules"])} == kinds
    assert {resource for _, resource, _ in grants(view["rules"])} == kinds | {f"{kind}/status" for kind in kinds}
    assert "PersistentVolumeClaim" in edit["metadata"]["annotations"]["housekeeper.dev/warning"]


def test_admin_may_enforce_and_approve_and_edit_may_not() -> None:
    (admin,) = named(rendered(), "ClusterRole", "-admin")
    assert grants(admin["rules"]) == {("housekeeper.dev", "cleanuppolicies", verb) for verb in ("approve", "enforce")}
    aggregated = [label for label in admin["metadata"]["labels"] if "aggregate-to" in label]
    assert aggregated == ["rbac.authorization.k8s.io/aggregate-to-admin"]
    edit = named(rendered(), "ClusterRole", "-edit")[0]
    assert {verb for _, _, verb in grants(edit["rules"])}.isdisjoint({"approve", "enforce"})


def test_the_admission_policies_are_about_the_namespaces_that_are_served() -> None:
    for arguments, expected in (
        ((), {}),
        (
            ("--set", "watchNamespaces={one,two}"),
            {
                "matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["one", "two"]},
                ]
            },
        ),
    ):
        found = named(rendered(*arguments), "ValidatingAdmissionPolicy")
        assert [thing["metadata"]["name"].rsplit("-", 1)[1] for thing in found] == ["approve", "enforce", "restore"]
        assert all(thing["spec"]["matchConstraints"]["namespaceSelector"] == expected for thing in found)
        bound = named(rendered(*arguments), "ValidatingAdmissionPolicyBinding")
        assert [one["spec"]["policyName"] for one in bound] == [thing["metadata"]["name"] for thing in found]
        assert all(one["spec"]["validationActions"] == ["Deny"] for one in bound)


def test_the_admission_policies_can_be_left_out() -> None:
    objects = rendered("--set", "admissionPolicy.enabled=false")
    assert [thing["kind"] for thing in objects if "AdmissionPolicy" in thing["kind"]] == []


def test_rights_can_be_left_to_somebody_else() -> None:
    objects = rendered("--set", "rbac.create=false", "--set", "rbac.aggregate=false")
    assert [thing["kind"] for thing in objects if "Role" in thing["kind"]] == []

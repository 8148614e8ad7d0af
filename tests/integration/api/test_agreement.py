"""Beyond the table: whatever text stands in a field, API server and models agree on whether it may."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from housekeeper_api.cleanup_policy import CleanupPolicy
from housekeeper_api.errors import InvalidResource
from housekeeper_api.health_check import HealthCheck
from tests.data.manifests import table
from tests.integration.api.conftest import Server

TEXTS = 60
"""How many texts are tried in each field. They are the same in each session."""
ODD = [
    "",
    " ",
    "\n",
    "\t",
    "\0",
    "\u00e9",
    "\u017f",
    "\u212a",
    "\u0663",
    "\\",
    "'",
    '"',
    "$",
    "H",
    "@",
    "-",
    "/",
    ".",
    "..",
    "%",
    "0",
]
"""Members that patterns trip over: what Python and RE2 might read differently, and what quoting might lose."""


def policy(change: Callable[[Any, str], Any]) -> Callable[[str], table.Object]:
    return _manifest("minimal-policy", change)


def check(change: Callable[[Any, str], Any]) -> Callable[[str], table.Object]:
    return _manifest("full-check", change)


def _manifest(base: str, change: Callable[[Any, str], Any]) -> Callable[[str], table.Object]:
    def with_text(text: str) -> table.Object:
        manifest = table.valid()[base]
        change(manifest["spec"], text)
        return manifest

    return with_text


SCHEDULE_PARTS = [
    "*",
    "*/5",
    "H",
    "H/5",
    "H(0-9)",
    "H(1-5)/2",
    "1",
    "59",
    "60",
    "7",
    "1-5",
    "5-1",
    "1,2",
    "MON",
    "jan",
    "L",
    "?",
]
FIELDS: dict[str, tuple[Callable[[str], table.Object], list[str], list[str]]] = {
    "schedule": (policy(lambda spec, text: spec.update(schedule=text)), SCHEDULE_PARTS, [" ", " ", " ", "  ", ""]),
    "timeZone": (
        policy(lambda spec, text: spec.update(timeZone=text)),
        ["Etc", "UTC", "America", "Local", "GMT+1", "a_b"],
        ["/", "/", ""],
    ),
    "settleTime": (
        policy(lambda spec, text: spec.update(settleTime=text)),
        ["1", "10", "0", "ms", "s", "m", "h", "d", "mo", "M"],
        [""],
    ),
    "path": (
        policy(lambda spec, text: spec["target"]["volume"].update(path=text)),
        ["a", "b", "..", ".", "...", ".housekeeper", "a.housekeeper", "*"],
        ["/", "/", "//", ""],
    ),
    "include": (
        policy(lambda spec, text: spec["rules"][0]["select"].update(include=[text])),
        ["a", "*", "**", "..", ".", ".housekeeper", "{a,b}", "[0-9]", "?"],
        ["/", "/", ""],
    ),
    "label key": (
        policy(lambda spec, text: spec.update(pod={"labels": {text: "x"}})),
        [
            "a",
            "B",
            "example.com",
            "kubernetes.io",
            "app.kubernetes.io",
            "xkubernetes.io",
            "k8s.io",
            "housekeeper.dev",
            "job-name",
            "managed-by",
        ],
        ["/", "/", ".", "-", ""],
    ),
    "label value": (
        policy(lambda spec, text: spec.update(pod={"labels": {"x": text}})),
        ["a", "B", "1", "_", "x" * 30],
        ["-", ".", ""],
    ),
    "rule name": (
        policy(lambda spec, text: spec["rules"][0].update(name=text)),
        ["a", "B", "1", "x" * 30],
        ["-", ".", ""],
    ),
    "claim name": (
        policy(lambda spec, text: spec["target"]["volume"]["persistentVolumeClaim"].update(claimName=text)),
        ["a", "B", "1", "x" * 30],
        ["-", ".", ".", ""],
    ),
    "memory limit": (
        policy(lambda spec, text: spec.update(pod={"resources": {"limits": {"memory": text}}})),
        ["1", "10", ".5", "Gi", "G", "m", "e3", "-1"],
        [""],
    ),
    "percentage": (
        check(lambda spec, text: spec["checks"][2]["filesystem"]["used"].update(failAbove=text)),
        ["1", "9", "100", ".", "5", "%", "%"],
        [""],
    ),
    "size": (
        check(lambda spec, text: spec["checks"][0]["memory"].update(available={"failBelow": text})),
        ["1", "10", ".5", "Gi", "G", "Ki", "E"],
        [""],
    ),
}


def texts(field: str) -> list[str]:
    _, parts, joints = FIELDS[field]
    chance = random.Random(field)
    found = []
    for _ in range(TEXTS):
        members = [
            chance.choice(ODD if chance.random() < 0.1 else parts) for _ in range(chance.choice([1, 2, 2, 3, 5, 5]))
        ]
        found.append("".join(part + chance.choice(joints) for part in members[:-1]) + members[-1])
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("field", FIELDS)
def test_server_and_models_agree(server: Server, field: str) -> None:
    with_text, _, _ = FIELDS[field]
    disagreements, accepted = [], 0
    for text in texts(field):
        manifest = with_text(text)
        answer = server.create(manifest)
        try:
            (CleanupPolicy if manifest["kind"] == "CleanupPolicy" else HealthCheck).from_object(manifest)
            problems: tuple[str, ...] = ()
        except InvalidResource as refusal:
            problems = refusal.problems
        accepted += answer.accepted
        if answer.accepted == bool(problems):
            disagreements.append((text, answer.problems if not answer.accepted else "admitted", problems or "read"))
    assert not disagreements
    assert 0 < accepted < TEXTS, "the texts of this field do not try both"

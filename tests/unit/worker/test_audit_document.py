"""The document about the audit knows what is written, and the release that a start names is this one."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import get_args

import yaml

from housekeeper_api.version import RELEASE
from housekeeper_worker.audit import FileEvent
from housekeeper_worker.audit.destination import appended_audit

REPOSITORY = Path(__file__).parents[3]
WORKER = REPOSITORY / "worker_image" / "housekeeper_worker"


def test_every_event_is_explained() -> None:
    text = (REPOSITORY / "docs" / "audit.md").read_text()
    table = text[text.index("| event | says |") : text.index("With `jq`")]
    written = set()
    for path in WORKER.rglob("*.py"):
        source = path.read_text()
        written |= set(re.findall(r'\.(?:event|file|_event)\(\s*"([A-Za-z]+)"', source))
        written |= set(re.findall(r'"event":"([A-Za-z]+)"', source.replace("\\", "")))
    written |= set(get_args(FileEvent))
    assert {"start", "intent", "removed", "summary", "chain"} <= written
    assert {event for event in written if f"`{event}`" not in table} == set()


def test_the_chain_is_what_the_document_says(tmp_path: Path) -> None:
    with appended_audit(str(tmp_path / "audit"), "run") as audit:
        audit.event("start")
        audit.event("summary")
    head, number, block = "0" * 64, 0, b""
    for count, line in enumerate((tmp_path / "audit").read_bytes().splitlines(keepends=True), start=1):
        told = json.loads(line)
        if told["event"] != "chain":
            block += line
            continue
        number += 1
        digest = hashlib.sha256(block).hexdigest()
        assert (told["block"], told["lines"], told["prev"]) == (number, count, head)
        head, block = hashlib.sha256(f"housekeeper-audit {number} {count} {head} {digest}".encode()).hexdigest(), b""
        assert told["hash"] == head
    assert number == 2


def test_the_release_is_the_one_that_is_built() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((REPOSITORY / "charts" / "housekeeper" / "Chart.yaml").read_text())
    assert project["version"] == chart["appVersion"] == RELEASE

"""Check the documents: every link leads somewhere, every YAML block of ours is valid."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import yaml

from housekeeper_api import names
from housekeeper_api.cleanup_policy import CleanupPolicy
from housekeeper_api.errors import InvalidResource
from housekeeper_api.health_check import HealthCheck
from housekeeper_api.maintenance_run import MaintenanceRun
from workshop.project import ROOT, read, tracked_files

MODELS: dict[str, Any] = {
    names.CLEANUP_POLICY: CleanupPolicy,
    names.HEALTH_CHECK: HealthCheck,
    names.MAINTENANCE_RUN: MaintenanceRun,
}

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(?P<title>.+?)\s*$", re.MULTILINE)
VALUES_MARK = "# values.yaml"
"""First line of a block that shows chart values."""


@dataclasses.dataclass(frozen=True)
class Block:
    """One YAML block of a document."""

    path: str
    line: int
    text: str


def documents() -> list[str]:
    """Paths of all Markdown files of the project."""
    return [path for path in tracked_files() if path.endswith(".md")]


def blocks(path: str, text: str) -> Iterator[Block]:
    """The YAML blocks of a document."""
    for match in _FENCE.finditer(text):
        if match["language"] in {"yaml", "yml"}:
            body = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
            yield Block(path, text.count("\n", 0, match.start()) + 1, body)


def manifests() -> Iterator[Block]:
    """Every piece of YAML that a user is told to apply: blocks of the documents, and the examples."""
    for path in documents():
        yield from blocks(path, read(path))
    for path in tracked_files():
        if path.startswith("examples/") and path.endswith((".yaml", ".yml")):
            yield Block(path, 1, read(path))


def problems() -> list[str]:
    """One sentence for each link that leads nowhere and each block that is wrong."""
    found: list[str] = []
    for path in documents():
        found.extend(broken_links(path, read(path)))
    for block in manifests():
        found.extend(invalid(block))
    return found


def broken_links(path: str, text: str) -> list[str]:
    """Relative links of a document to a file, or a heading in one, that does not exist."""
    found = []
    prose = _FENCE.sub("", text)
    for match in _LINK.finditer(prose):
        target, _, anchor = match["target"].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        aim = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
        if not os.path.exists(os.path.join(ROOT, aim)):
            found.append(f"{path}: link to {target}, which does not exist")
        elif anchor and aim.endswith(".md") and anchor not in anchors(read(aim)):
            found.append(f"{path}: link to {target}#{anchor}, but there is no such heading")
    return found


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as the usual renderers make them."""
    found = set()
    for match in _HEADING.finditer(_FENCE.sub("", text)):
        title = re.sub(r"[`*]", "", match["title"]).lower()
        found.add(re.sub(r"[^\w\- ]", "", title).replace(" ", "-"))
    return found


def invalid(block: Block) -> list[str]:
    """What is wrong with one block: its YAML, or an object of ours in it, or chart values in it."""
    where = f"{block.path}:{block.line}"
    try:
        objects = list(yaml.safe_load_all(block.text))
    except yaml.YAMLError as error:
        return [f"{where}: not YAML: {error}"]
    if block.text.startswith(VALUES_MARK):
        schema = json.loads(read("charts/housekeeper/values.schema.json"))
        errors = jsonschema.Draft7Validator(schema).iter_errors(objects[0])
        return [f"{where}: {'.'.join(map(str, error.path))}: {error.message}" for error in errors]
    found = []
    for thing in objects:
        if not isinstance(thing, dict) or thing.get("apiVersion") != names.API_VERSION:
            continue
        model = MODELS.get(thing.get("kind", ""))
        if model is None:
            found.append(f"{where}: no kind is called {thing.get('kind')}")
            continue
        try:
            model.from_object(thing)
        except InvalidResource as error:
            found.append(f"{where}: {error}")
    return found

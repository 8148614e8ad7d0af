"""Check that requirements/*.txt still hold what pyproject.toml asks for. `make lock` mends what is found."""

from __future__ import annotations

import os
import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from workshop.project import ROOT

EXTRAS = {
    "build": ("build",),
    "operator": ("operator",),
    "worker": ("worker", "cli"),
    "dev": ("dev",),
}
"""Which extras each requirements file is compiled from; workshop/lock says the same."""

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)


def wanted(extras: tuple[str, ...], optional: dict[str, list[str]]) -> list[Requirement]:
    """The requirements of some extras, with references to the project's own extras followed."""
    found: list[Requirement] = []
    waiting = list(extras)
    seen: set[str] = set()
    while waiting:
        extra = waiting.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for text in optional[extra]:
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) == "housekeeper":
                waiting.extend(requirement.extras)
            else:
                found.append(requirement)
    return found


def pins(text: str) -> dict[str, list[str]]:
    """The versions that a requirements file pins, by canonical name; a name may be pinned for several platforms."""
    found: dict[str, list[str]] = {}
    for match in _PIN.finditer(text):
        found.setdefault(canonicalize_name(match["name"]), []).append(match["version"])
    return found


def problems() -> list[str]:
    """One sentence for each thing that does not hold; empty when all do."""
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        optional = tomllib.load(file)["project"]["optional-dependencies"]
    found: list[str] = []
    versions: dict[str, dict[str, list[str]]] = {}
    for name, extras in EXTRAS.items():
        path = f"requirements/{name}.txt"
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            text = file.read()
        pinned = pins(text)
        found.extend(_unmet(path, wanted(extras, optional), pinned))
        found.extend(
            f"{path}: {block.splitlines()[0]} has no hash"
            for block in re.split(r"\n(?=[A-Za-z0-9])", text)
            if _PIN.match(block) and "--hash=sha256:" not in block
        )
        if re.search(r"://|--(extra-)?index|--find-links|\.setup", text):
            found.append(f"{path}: names a package index or a directory")
        for package, numbers in pinned.items():
            versions.setdefault(package, {})[path] = sorted(numbers)
    for package, by_path in versions.items():
        if len({tuple(numbers) for numbers in by_path.values()}) > 1:
            found.append(f"{package} is pinned differently: {by_path}")
    return found


def _unmet(path: str, requirements: list[Requirement], pinned: dict[str, list[str]]) -> list[str]:
    found = []
    for requirement in requirements:
        numbers = pinned.get(canonicalize_name(requirement.name), [])
        if not numbers:
            found.append(f"{path}: {requirement} is not pinned")
        found.extend(
            f"{path}: {requirement.name}=={number} does not satisfy {requirement}"
            for number in numbers
            if not requirement.specifier.contains(number, prereleases=True)
        )
    return found

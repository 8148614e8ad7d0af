"""The table of manifests: what is accepted, and what is refused with which words.

`valid/*.yaml` are manifests. `invalid/*.yaml` are cases, each a valid manifest (`base`: its metadata.name) with some
members set or removed; `field` and `message` are what the refusal must contain, by the API server as by the models
(`model`: where the models say it in other words). `semantic/*.yaml` are cases of the same form that the API server
accepts and `semantic_problems` refuses.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
import re
from typing import Any

import yaml

DIRECTORY = os.path.dirname(os.path.realpath(__file__))

Object = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """One refused manifest."""

    name: str
    manifest: Object
    field: str
    """Path of the field, as it stands in the refusal."""
    message: str
    """Part of what the API server says."""
    model: str
    """Part of what the models say."""

    def __str__(self) -> str:
        return self.name


def valid() -> dict[str, Object]:
    """The valid manifests by name."""
    found = {}
    for _, documents in _read("valid"):
        for document in documents:
            name = document["metadata"]["name"]
            assert name not in found, f"two valid manifests are called {name}"
            found[name] = copy.deepcopy(document)
    return found


def invalid() -> list[Case]:
    """What is refused at admission."""
    return _cases("invalid")


def semantic() -> list[Case]:
    """What only `semantic_problems` refuses."""
    return _cases("semantic")


def _cases(directory: str) -> list[Case]:
    bases = valid()
    cases = []
    for file, documents in _read(directory):
        for document in documents:
            for case in document["cases"]:
                manifest = copy.deepcopy(bases[case.get("base", document["base"])])
                for path, value in case.get("set", {}).items():
                    _set(manifest, path, _repeated(value))
                for path in case.get("remove", ()):
                    _remove(manifest, path)
                cases.append(
                    Case(
                        name=f"{file}: {case['name']}",
                        manifest=manifest,
                        field=case["field"],
                        message=case["message"],
                        model=case.get("model", case["message"]),
                    )
                )
    return cases


@functools.cache
def _read(directory: str) -> list[tuple[str, list[Any]]]:
    found = []
    for name in sorted(os.listdir(os.path.join(DIRECTORY, directory))):
        with open(os.path.join(DIRECTORY, directory, name), encoding="utf-8") as file:
            found.append((name.removesuffix(".yaml"), list(yaml.safe_load_all(file))))
    return found


def _set(manifest: Any, path: str, value: Any) -> None:
    *parents, last = _parts(path)
    for part in parents:
        manifest = manifest.setdefault(part, {}) if isinstance(part, str) else manifest[part]
    if isinstance(last, int) and last == len(manifest):
        manifest.append(value)
    else:
        manifest[last] = value


def _remove(manifest: Any, path: str) -> None:
    *parents, last = _parts(path)
    for part in parents:
        manifest = manifest[part]
    del manifest[last]


def _parts(path: str) -> list[str | int]:
    return [int(index) if index else name for name, index in re.findall(r"([^.\[\]]+)|\[([0-9]+)\]", path)]


def _repeated(value: Any) -> Any:
    """`{repeat: [x, 3]}` is `xxx`, or a list three times as long, at any depth."""
    if isinstance(value, dict):
        if value.keys() == {"repeat"}:
            what, times = value["repeat"]
            return what * times
        return {key: _repeated(member) for key, member in value.items()}
    return [_repeated(item) for item in value] if isinstance(value, list) else value

"""JSON schemas for kubeconform, made from the API's own description instead of being downloaded.

Kubernetes publishes its API as one Swagger file, which lies in the Go module that the embedded cluster is built from.
Our kinds come from the generated CustomResourceDefinitions. Schemas are strict: a field nobody knows is an error.

One file a kind, `GROUP/KIND_VERSION.json` in lower case; the core group is called `v1`, as kubeconform has it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from typing import Any

import yaml

from tests.cluster.embedded import layout
from tests.cluster.embedded.artifacts import tools
from workshop.project import KUBERNETES_VERSION, ROOT

LOCATION = "{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"
_REF = "#/definitions/"


def schema_locations() -> list[str]:
    """Templates for kubeconform's `-schema-location`; the schemas are made first where the cache lacks them."""
    return [os.path.join(kubernetes(), LOCATION), os.path.join(own(), LOCATION)]


def kubernetes() -> str:
    """The directory with the schemas of Kubernetes itself; a few seconds, once for each release."""
    with open(__file__, "rb") as file:
        key = hashlib.sha256(file.read()).hexdigest()[:12]
    target = os.path.join(layout.cache_directory(), "schemas", f"kubernetes-{KUBERNETES_VERSION}-{key}")
    if os.path.isdir(target):
        return target
    with open(_swagger(), encoding="utf-8") as file:
        definitions = json.load(file)["definitions"]
    strict = {name: stricter(schema) for name, schema in definitions.items()}
    schemas = {}
    for name, schema in definitions.items():
        for gvk in schema.get("x-kubernetes-group-version-kind", []):
            if len(schema["x-kubernetes-group-version-kind"]) == 1:
                schemas[_file(gvk["group"], gvk["version"], gvk["kind"])] = {
                    "$ref": _REF + name,
                    "definitions": {used: strict[used] for used in sorted(_closure(name, strict))},
                }
    _write(target, schemas)
    return target


def own() -> str:
    """The directory with the schemas of our own kinds, from crds/*.yaml."""
    sources = {}
    for name in sorted(os.listdir(os.path.join(ROOT, "crds"))):
        if name.endswith(".yaml"):
            with open(os.path.join(ROOT, "crds", name), encoding="utf-8") as file:
                sources[name] = file.read()
    with open(__file__, encoding="utf-8") as file:
        key = hashlib.sha256("\0".join([file.read(), *sources.values()]).encode()).hexdigest()[:20]
    target = os.path.join(layout.cache_directory(), "schemas", f"housekeeper-{key}")
    if os.path.isdir(target):
        return target
    schemas = {}
    for text in sources.values():
        crd = yaml.safe_load(text)["spec"]
        for version in crd["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            schema.setdefault("properties", {}).update(
                apiVersion={"type": "string"}, kind={"type": "string"}, metadata={"type": "object"}
            )
            schemas[_file(crd["group"], version["name"], crd["names"]["kind"])] = stricter(schema)
    _write(target, schemas)
    return target


def stricter(schema: Any) -> Any:
    """`schema` with unknown members refused, and with what the API server takes besides what the types say."""
    if isinstance(schema, list):
        return [stricter(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"oneOf": [{"type": "string"}, {"type": "integer"}]}
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: stricter(member) for name, member in value.items()}
        elif key in {"items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"}:
            result[key] = stricter(value)
        elif not key.startswith("x-kubernetes") and key not in {"description", "format", "default"}:
            result[key] = value
    if (
        "properties" in result
        and "additionalProperties" not in result
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        result["additionalProperties"] = False
    if "Quantity is a fixed-point representation" in schema.get("description", ""):
        return {"oneOf": [{"type": "string"}, {"type": "number"}]}
    return result


def _closure(name: str, definitions: dict[str, Any]) -> set[str]:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting.extend(_references(definitions[current]))
    return seen


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for item in schema for name in _references(item)]
    if not isinstance(schema, dict):
        return []
    found = [name for value in schema.values() for name in _references(value)]
    if isinstance(ref := schema.get("$ref"), str):
        found.append(ref.removeprefix(_REF))
    return found


def _file(group: str, version: str, kind: str) -> str:
    return os.path.join(group or version, f"{kind.lower()}_{version}.json")


def _write(target: str, schemas: dict[str, Any]) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    scratch = tempfile.mkdtemp(prefix=".schemas-", dir=os.path.dirname(target))
    try:
        for path, schema in schemas.items():
            os.makedirs(os.path.join(scratch, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(scratch, path), "w", encoding="utf-8") as file:
                json.dump(schema, file)
        os.rename(scratch, target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        if not os.path.isdir(target):  # else somebody else was faster, with the same content
            raise


def _swagger() -> str:
    """The Swagger file in the module k8s.io/kubernetes; the module is downloaded where the machine lacks it."""
    module = subprocess.run(
        [tools.go("kubernetes"), "mod", "download", "-json", "k8s.io/kubernetes"],
        cwd=os.path.join(ROOT, "tests", "cluster", "kubernetes"),
        env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return os.path.join(json.loads(module.stdout)["Dir"], "api", "openapi-spec", "swagger.json")

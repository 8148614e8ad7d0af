"""The CustomResourceDefinition of a kind."""

from __future__ import annotations

from typing import Any

import yaml

from housekeeper_api import names
from housekeeper_api.fields.base import Resource
from housekeeper_api.schema.descriptions import class_description, field_description
from housekeeper_api.schema.structural import structural_schema

CATEGORY = "housekeeper"
HEADER = "# Generated from the models in crds/housekeeper_api. Do not edit: `make generate` writes it.\n"


def file_name(kind: type[Resource]) -> str:
    """Name of the file of a kind: `housekeeper.dev_cleanuppolicies.yaml`."""
    return f"{names.GROUP}_{names.PLURALS[kind.__name__]}.yaml"


def build_crd(kind: type[Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition as plain values."""
    plural = names.PLURALS[kind.__name__]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.__name__,
                "listKind": f"{kind.__name__}List",
                "plural": plural,
                "singular": kind.__name__.lower(),
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(kind),
                    "schema": {"openAPIV3Schema": _root_schema(kind)},
                }
            ],
        },
    }


def as_yaml(crd: dict[str, Any]) -> str:
    """The file's content."""
    return HEADER + yaml.dump(crd, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes everything out: readers of a CRD, people and programs, do not follow anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is the base's
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Folding a long CEL rule or regular expression in the middle makes it unreadable.
    long_expression = len(text) > 100 and "self." in text
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if long_expression else None)


_Dumper.add_representer(str, _represent_text)


def _columns(kind: type[Resource]) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "type": column.type,
            "jsonPath": column.json_path,
            "description": column.description,
            **({"priority": 1} if column.wide else {}),
        }
        for column in kind.columns
    ]


def _root_schema(kind: type[Resource]) -> dict[str, Any]:
    fields = kind.model_fields
    properties: dict[str, Any] = {
        "apiVersion": {"type": "string", "description": "Version of the API: housekeeper.dev/v1alpha1."},
        "kind": {"type": "string", "description": f"Kind of the object: {kind.__name__}."},
        "metadata": {"type": "object"},
    }
    for member in ("spec", "status"):
        annotation: Any = fields[member].annotation
        # `status` is `Status | None`.
        model = next((part for part in getattr(annotation, "__args__", ()) if part is not type(None)), annotation)
        properties[member] = {**structural_schema(model), "description": field_description(kind, member)}
    schema: dict[str, Any] = {
        "description": class_description(kind),
        "type": "object",
        "required": ["spec"],
        "properties": properties,
    }
    rules = [rule.as_validation() for rule in kind.constraints]
    rules += [rule.as_validation() for rule in kind.transitions]
    if rules:
        schema["x-kubernetes-validations"] = rules
    return schema

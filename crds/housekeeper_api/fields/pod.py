"""What a policy may say about its worker pods: a subset that cannot leave Pod Security's level "restricted"."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from housekeeper_api.fields.base import Model
from housekeeper_api.fields.rules import ATOMIC_LIST, ATOMIC_OBJECT, MapList, Rule
from housekeeper_api.fields.values import ObjectName, ResourceQuantity, matching

MAX_ID: Final = 2**31 - 1

_KEY: Final = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_KEY_CEL: Final = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_VALUE_PATTERN: Final = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
_KEY_MISTAKE: Final = "keys must be names such as team or example.com/team, at most 253 characters"

_LabelValue = Annotated[
    str,
    Field(max_length=63),
    matching(_VALUE_PATTERN, "must be letters, digits, '-', '_' and '.', and begin and end with a letter or digit"),
]


def _keys_are_names(labels: dict[str, Any]) -> bool:
    return all(_KEY.match(key) is not None and len(key) <= 253 for key in labels)


_KEYS = Rule(f"self.all(key, size(key) <= 253 && key.matches('{_KEY_CEL}'))", _keys_are_names, _KEY_MISTAKE)

_RESERVED_DOMAINS: Final = ("housekeeper.dev", "kubernetes.io", "k8s.io")
# What the Job controller itself writes on pods, without a prefix.
_RESERVED_KEYS: Final = ("app.kubernetes.io/managed-by", "controller-uid", "job-name")


def _is_reserved(key: str) -> bool:
    domain = key.partition("/")[0] if "/" in key else ""
    ours_or_systems = any(domain == reserved or domain.endswith("." + reserved) for reserved in _RESERVED_DOMAINS)
    return key in _RESERVED_KEYS or (ours_or_systems and domain != "app.kubernetes.io")


_RESERVED_CEL: Final = " || ".join(
    [
        *(f"key == '{key}'" for key in _RESERVED_KEYS),
        "(!key.startsWith('app.kubernetes.io/') && ("
        + " || ".join(f"key.startsWith('{domain}/') || key.contains('.{domain}/')" for domain in _RESERVED_DOMAINS)
        + "))",
    ]
)
_NOT_RESERVED = Rule(
    f"self.all(key, !({_RESERVED_CEL}))",
    lambda labels: not any(_is_reserved(key) for key in labels),
    "keys of housekeeper.dev, kubernetes.io and k8s.io (app.kubernetes.io but for managed-by is free), job-name and "
    "controller-uid are Housekeeper's and the system's; use a prefix of your own",
)

NodeSelector = Annotated[dict[str, _LabelValue], Field(max_length=16), _KEYS, ATOMIC_OBJECT]
Labels = Annotated[dict[str, _LabelValue], Field(max_length=16), _KEYS, _NOT_RESERVED]
Annotations = Annotated[dict[str, Annotated[str, Field(max_length=2048)]], Field(max_length=16), _KEYS, _NOT_RESERVED]


class ResourceAmounts(Model):
    """Amounts of compute resources."""

    cpu: ResourceQuantity | None = None
    """Cores, such as `500m` or `1`."""
    memory: ResourceQuantity | None = None
    """Bytes, such as `256Mi`."""
    ephemeral_storage: ResourceQuantity | None = Field(default=None, alias="ephemeral-storage")
    """Bytes on the node's own disk, for logs."""


class Resources(Model):
    """Requests and limits of the worker."""

    requests: ResourceAmounts | None = None
    """What the scheduler reserves on a node."""
    limits: ResourceAmounts | None = None
    """What the worker may use at most; not less than the requests."""


class Toleration(Model):
    """A taint of nodes that the pod tolerates."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.operator == 'Equal' || !has(self.value)",
            lambda self: self.operator == "Equal" or self.value is None,
            "must be left out with the operator Exists",
            field_path=".value",
        ),
        Rule(
            "self.operator == 'Exists' || has(self.key)",
            lambda self: self.operator == "Exists" or self.key is not None,
            "is required with the operator Equal",
            field_path=".key",
            reason="FieldValueRequired",
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            lambda self: self.toleration_seconds is None or self.effect == "NoExecute",
            "is only for the effect NoExecute",
            field_path=".tolerationSeconds",
        ),
    )

    key: Annotated[str, Field(min_length=1, max_length=253), matching(_KEY_CEL, _KEY_MISTAKE)] | None = None
    """Key of the taint. Absent with the operator Exists: every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the taint's value must be equal, or only its key there."""
    value: _LabelValue | None = None
    """Value of the taint, with the operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Absent: every effect."""
    toleration_seconds: Annotated[int, Field(ge=0, le=MAX_ID)] | None = None
    """For how long the pod stays on a node that gets the taint. Absent: for ever."""


class ImagePullSecret(Model):
    """A Secret of the policy's namespace with the credentials of an image registry."""

    name: ObjectName
    """Name of the Secret."""


_NOT_ROOT = "a worker does not run as root; write the {what} that owns the files, 1 or above, or leave it out (65532)"


def _not_root(what: str) -> Rule:
    return Rule("self >= 1", lambda number: number >= 1, _NOT_ROOT.format(what=what))


GroupId = Annotated[int, Field(ge=0, le=MAX_ID)]


class PodSecurityContext(Model):
    """User and groups of the worker: those that may remove the files."""

    run_as_user: Annotated[int, Field(ge=0, le=MAX_ID), _not_root("uid")] | None = None
    """Uid of the worker: the one that owns the files. Absent: 65532. Not 0."""
    run_as_group: Annotated[int, Field(ge=0, le=MAX_ID), _not_root("gid")] | None = None
    """Gid of the worker. Absent: the same number as its uid. Not 0."""
    supplemental_groups: Annotated[tuple[GroupId, ...], Field(max_length=32), ATOMIC_LIST] | None = None
    """Further groups of the worker."""
    fs_group: GroupId | None = None
    """Group of the volume's files, which the worker gets as one of its groups. Unlike a pod's own `fsGroup`, it never
    changes the owner of a file: that would make every file look freshly changed."""


class Pod(Model):
    """Worker pods of a policy."""

    resources: Resources | None = None
    """Requests and limits. Absent: those of the installation."""
    node_selector: NodeSelector | None = None
    """Labels of the nodes that the pod may run on."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16), ATOMIC_LIST] | None = None
    """Taints of nodes that the pod tolerates."""
    priority_class_name: ObjectName | None = None
    """A PriorityClass of the cluster."""
    image_pull_secrets: Annotated[tuple[ImagePullSecret, ...], Field(max_length=8), MapList("name")] | None = None
    """Secrets for the registry of the worker's image."""
    labels: Labels | None = None
    """Labels of the pod, besides Housekeeper's own."""
    annotations: Annotations | None = None
    """Annotations of the pod, besides Housekeeper's own."""
    security_context: PodSecurityContext | None = None
    """User and groups of the worker."""

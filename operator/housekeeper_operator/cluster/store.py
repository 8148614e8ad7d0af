"""The in-memory copy of what is watched.

It is fed from three sides: the watches, the full lists (at start and at every resync), and the answers to the
operator's own writes, so that a reconcile reads what the one before it wrote. Whoever comes late loses: an older
resourceVersion never replaces a newer one, and what was deleted does not come back.

Everything runs on the event loop's thread. Objects handed out are the store's own: read them, never change them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any, Final

from housekeeper_operator.cluster.kinds import RESOURCES, WATCHED_KINDS

Object = dict[str, Any]
Objects = list[Object]
Listener = Callable[[str, Object], None]
"""Called with (kind, object) after each effective change; for a deletion with the last state known."""

TOMBSTONE_SECONDS: Final = 900.0
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_INTERNED_VALUE_LENGTH: Final = 64


class Store:
    """Objects of the watched kinds by kind, namespace and name, with an index by their controller's uid."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._objects: dict[str, dict[str, dict[str, Object]]] = {kind: {} for kind in WATCHED_KINDS}
        self._owned: dict[str, dict[tuple[str, str, str], Object]] = {}
        self._tombstones: dict[str, float] = {}
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Have `listener` called after each effective change, from now on."""
        self._listeners.append(listener)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, or None if there is none."""
        return self._objects[kind].get(namespace, {}).get(name)

    def list(self, kind: str, namespace: str | None = None) -> Objects:
        """All objects of a kind, in one namespace or in all."""
        by_namespace = self._objects[kind]
        if namespace is not None:
            return [*by_namespace.get(namespace, {}).values()]
        return [obj for objects in by_namespace.values() for obj in objects.values()]

    def owned_by(self, uid: str, kind: str | None = None) -> Objects:
        """All objects whose controller (the owner reference with `controller: true`) has this uid."""
        owned = self._owned.get(uid, {})
        return [obj for (owned_kind, _, _), obj in owned.items() if kind is None or owned_kind == kind]

    def labelled(self, kind: str, label: str, value: str, namespace: str | None = None) -> Objects:
        """All objects of a kind with this label; looks at each of them."""
        return [obj for obj in self.list(kind, namespace) if (obj["metadata"].get("labels") or {}).get(label) == value]

    def count(self, kind: str) -> int:
        """How many objects of a kind are held."""
        return sum(len(objects) for objects in self._objects[kind].values())

    def holds(self, kind: str) -> bool:
        """Whether objects of this kind are kept here at all."""
        return kind in self._objects

    def put(self, kind: str, obj: Object) -> bool:
        """Take an object in the state that the server showed. False if it is not news (old, the same, or deleted)."""
        metadata = obj["metadata"]
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        if uid in self._tombstones:
            return False
        current = self.get(kind, namespace, name)
        if current is not None and not _newer(obj, current):
            return False
        kept = _compact(kind, obj)
        if current is not None:
            self._forget_owner(kind, current)
        self._objects[kind].setdefault(namespace, {})[name] = kept
        owner = controller_uid(kept)
        if owner is not None:
            self._owned.setdefault(owner, {})[kind, namespace, name] = kept
        self._tell(kind, kept)
        return True

    def remove(self, kind: str, namespace: str, name: str, uid: str) -> bool:
        """Take note that the object with this uid is gone. False if another, or none, was held under its name."""
        self._bury(uid)
        current = self.get(kind, namespace, name)
        if current is None or current["metadata"]["uid"] != uid:
            return False
        self._forget_owner(kind, current)
        objects = self._objects[kind][namespace]
        del objects[name]
        if not objects:
            del self._objects[kind][namespace]
        self._tell(kind, current)
        return True

    def prune(self, kind: str, *, listed: AbstractSet[str], resource_version: str, namespace: str | None = None) -> int:
        """After a full list, of one namespace or of all, whose objects were put: take out what it did not hold.

        `listed` holds the uids in the list, `resource_version` is the list's own: what is held but not listed is gone,
        unless it is newer than the list. Returns how many were taken out.
        """
        gone = [
            held["metadata"]
            for held in self.list(kind, namespace)
            if held["metadata"]["uid"] not in listed and _version(held["metadata"]) <= _version_number(resource_version)
        ]
        for metadata in gone:
            self.remove(kind, metadata["namespace"], metadata["name"], metadata["uid"])
        return len(gone)

    def _tell(self, kind: str, obj: Object) -> None:
        for listener in self._listeners:
            listener(kind, obj)

    def _forget_owner(self, kind: str, obj: Object) -> None:
        owner = controller_uid(obj)
        if owner is None:
            return
        owned = self._owned.get(owner, {})
        owned.pop((kind, obj["metadata"]["namespace"], obj["metadata"]["name"]), None)
        if not owned:
            self._owned.pop(owner, None)

    def _bury(self, uid: str) -> None:
        now = self._monotonic()
        self._tombstones.pop(uid, None)
        self._tombstones[uid] = now
        # Insertion order is burial order, so the expired ones stand in front.
        for old, buried in [*_expired(self._tombstones, now)]:
            if self._tombstones.get(old) == buried:
                del self._tombstones[old]


def controller_uid(obj: Object) -> str | None:
    """uid of the owner that controls `obj`, or None."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def _expired(tombstones: dict[str, float], now: float) -> Iterator[tuple[str, float]]:
    for uid, buried in tombstones.items():
        if now - buried <= TOMBSTONE_SECONDS:
            return
        yield uid, buried


def _newer(obj: Object, current: Object) -> bool:
    return _version(obj["metadata"]) > _version(current["metadata"])


def _version(metadata: Object) -> int:
    return _version_number(metadata["resourceVersion"])


def _version_number(text: str) -> int:
    # Within one kind the API server promises versions that grow (KEP-5504); every server in use counts in decimals.
    return int(text)


def _compact(kind: str, obj: Object) -> Object:
    """A copy without what nobody here reads, whose repeated strings are one string each.

    Every watch event is parsed by itself, so that without this each object would carry its own copy of every key.
    """
    resource = RESOURCES[kind]
    kept: Object = {"apiVersion": resource.api_version, "kind": resource.kind}
    for key, value in obj.items():
        if key == "metadata":
            kept["metadata"] = _compact_metadata(value)
        elif key not in kept:
            kept[sys.intern(key)] = _intern(value)
    return kept


def _compact_metadata(metadata: Object) -> Object:
    kept = {sys.intern(key): _intern(value) for key, value in metadata.items() if key != "managedFields"}
    annotations = kept.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        del annotations[_LAST_APPLIED]
    return kept


def _intern(value: Any) -> Any:
    if isinstance(value, dict):
        return {sys.intern(key): _intern(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_intern(item) for item in value]
    if isinstance(value, str) and len(value) <= _INTERNED_VALUE_LENGTH:
        return sys.intern(value)
    return value

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_operator.cluster.kinds import JOB, POD
from housekeeper_operator.cluster.store import TOMBSTONE_SECONDS, Object, Store


def thing(
    name: str = "x", *, version: int = 1, uid: str = "", owner: str | None = None, namespace: str = "team", **more: Any
) -> Object:
    metadata: Object = {
        "namespace": namespace,
        "name": name,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
    }
    if owner:
        metadata["ownerReferences"] = [{"uid": "other"}, {"uid": owner, "controller": True}]
    return {"metadata": metadata | more.pop("metadata", {}), **more}


def take_list(store: Store, objects: list[Object], *, version: str, namespace: str | None = None) -> int:
    """What a resync does with a full list; returns how many objects differed."""
    differences = sum(store.put(JOB, obj) for obj in objects)
    listed = {obj["metadata"]["uid"] for obj in objects}
    return differences + store.prune(JOB, listed=listed, resource_version=version, namespace=namespace)


class Heard:
    def __init__(self, store: Store) -> None:
        self.changes: list[tuple[str, str, str]] = []
        store.subscribe(
            lambda kind, obj: self.changes.append((kind, obj["metadata"]["name"], obj["metadata"]["resourceVersion"]))
        )


@pytest.mark.parametrize(
    ("first", "second", "kept", "news"),
    [
        (9, 10, "10", True),  # a number, not a text: 10 is newer than 9
        (10, 9, "10", False),
        (10, 10, "10", False),
    ],
)
def test_only_a_newer_version_replaces_what_is_held(first: int, second: int, kept: str, news: bool) -> None:
    store = Store()
    assert store.put(JOB, thing(version=first))
    heard = Heard(store)

    assert store.put(JOB, thing(version=second)) is news

    held = store.get(JOB, "team", "x")
    assert held is not None
    assert held["metadata"]["resourceVersion"] == kept
    assert len(heard.changes) == news


def test_a_late_event_does_not_resurrect_what_was_deleted() -> None:
    store = Store()
    store.put(JOB, thing(version=5))
    assert store.remove(JOB, "team", "x", "uid-x")

    assert not store.put(JOB, thing(version=6))
    assert store.get(JOB, "team", "x") is None
    assert store.list(JOB) == []


def test_the_name_of_what_was_deleted_can_be_used_again() -> None:
    store = Store()
    store.put(JOB, thing(version=5))
    store.remove(JOB, "team", "x", "uid-x")
    assert store.put(JOB, thing(version=9, uid="second"))

    assert not store.remove(JOB, "team", "x", "uid-x"), "a late deletion of the first must not take the second"
    assert store.get(JOB, "team", "x") is not None


def test_a_deletion_may_be_told_before_the_object_was_seen() -> None:
    store = Store()
    assert not store.remove(JOB, "team", "x", "uid-x")
    assert not store.put(JOB, thing(version=3))


def test_deletions_are_forgotten_in_the_end() -> None:
    clock = [0.0]
    store = Store(monotonic=lambda: clock[0])
    for number in range(100):
        store.remove(JOB, "team", "x", f"uid-{number}")
    clock[0] = TOMBSTONE_SECONDS + 1
    store.remove(JOB, "team", "x", "uid-last")

    assert [*store._tombstones] == ["uid-last"]


def test_the_index_by_owner_follows_every_change() -> None:
    store = Store()
    store.put(JOB, thing("a", owner="cron"))
    store.put(POD, thing("a-pod", owner="cron"))
    store.put(JOB, thing("b", owner="cron"))
    store.put(JOB, thing("c"))

    def names(uid: str, kind: str | None = None) -> set[str]:
        return {obj["metadata"]["name"] for obj in store.owned_by(uid, kind)}

    assert names("cron") == {"a", "a-pod", "b"}
    assert names("cron", JOB) == {"a", "b"}
    assert names("other") == set(), "an owner that does not control is no owner"

    store.put(JOB, thing("b", version=2, owner="run"))
    store.remove(POD, "team", "a-pod", "uid-a-pod")
    assert names("cron") == {"a"}
    assert names("run") == {"b"}

    store.remove(JOB, "team", "a", "uid-a")
    store.remove(JOB, "team", "b", "uid-b")
    assert not store._owned


def test_a_full_list_repairs_what_no_event_told() -> None:
    store = Store()
    for name, version in (("gone", 3), ("changed", 4), ("same", 5), ("newer-than-the-list", 50)):
        store.put(JOB, thing(name, version=version))
    store.put(JOB, thing("elsewhere", namespace="other", version=2))
    heard = Heard(store)

    listed = [thing("changed", version=20), thing("same", version=5), thing("missed", version=21)]
    differences = take_list(store, listed, version="30", namespace="team")

    assert differences == 3
    assert {name for _, name, _ in heard.changes} == {"gone", "changed", "missed"}
    assert {obj["metadata"]["name"] for obj in store.list(JOB, "team")} == {
        "changed",
        "same",
        "missed",
        "newer-than-the-list",
    }
    assert len(store.list(JOB, "other")) == 1
    assert store.count(JOB) == 5


def test_a_list_taken_before_a_deletion_does_not_bring_the_object_back() -> None:
    store = Store()
    store.put(JOB, thing(version=3))
    store.remove(JOB, "team", "x", "uid-x")

    assert take_list(store, [thing(version=3)], version="10") == 0
    assert store.list(JOB) == []


def test_an_object_deleted_and_made_again_between_two_lists_is_replaced() -> None:
    store = Store()
    store.put(JOB, thing(version=3, uid="old"))

    assert take_list(store, [thing(version=8, uid="new")], version="10") == 1
    held = store.get(JOB, "team", "x")
    assert held is not None
    assert held["metadata"]["uid"] == "new"


def test_what_nobody_reads_is_not_kept() -> None:
    store = Store()
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1"}
    original = thing(metadata={"managedFields": [{}], "annotations": annotations}, spec={"a": [1, {"b": None}]})
    store.put(JOB, original)

    held = store.get(JOB, "team", "x")
    assert held is not None
    assert "managedFields" not in held["metadata"]
    assert held["metadata"]["annotations"] == {"mine": "1"}
    assert held["spec"] == {"a": [1, {"b": None}]}
    assert (held["apiVersion"], held["kind"]) == ("batch/v1", "Job"), "items of a list come without them"
    assert len(annotations) == 2, "what was put in is the caller's"


def test_labelled_finds_by_value_and_namespace() -> None:
    store = Store()
    store.put(JOB, thing("a", metadata={"labels": {"team": "red"}}))
    store.put(JOB, thing("b", metadata={"labels": {"team": "blue"}}))
    store.put(JOB, thing("c", namespace="other", metadata={"labels": {"team": "red"}}))
    store.put(JOB, thing("d", metadata={"labels": None}))

    assert [obj["metadata"]["name"] for obj in store.labelled(JOB, "team", "red")] == ["a", "c"]
    assert [obj["metadata"]["name"] for obj in store.labelled(JOB, "team", "red", "other")] == ["c"]


@given(st.integers(0, 2**32), st.lists(st.sampled_from(["change", "delete"]), min_size=1, max_size=30))
def test_events_in_any_order_end_in_the_same_state(seed: int, history: list[str]) -> None:
    """One name lives, dies and lives again; however the events are shuffled and repeated, the end is the truth."""
    events: list[tuple[str, Object]] = []
    incarnation = 0
    alive = False
    for version, what in enumerate(history, start=1):
        if what == "delete" and not alive:
            continue
        if what == "change" and not alive:
            incarnation += 1
        alive = what == "change"
        events.append((what, thing(version=version, uid=f"uid-{incarnation}")))
    chance = random.Random(seed)
    shuffled = events * 2
    chance.shuffle(shuffled)

    store = Store()
    for what, obj in shuffled:
        if what == "delete":
            store.remove(JOB, "team", "x", obj["metadata"]["uid"])
        else:
            store.put(JOB, obj)

    held = store.get(JOB, "team", "x")
    if alive:
        assert held is not None
        assert held["metadata"]["resourceVersion"] == events[-1][1]["metadata"]["resourceVersion"]
    else:
        assert held is None

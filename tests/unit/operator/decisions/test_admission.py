from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_operator.decisions.admission import Entry, admit
from tests.unit.operator.builders import NOW


def entry(
    run: str, *, policy: str | None = None, claim: str | None = None, age: int = 0, namespace: str = "team"
) -> Entry:
    return Entry(
        run=run,
        namespace=namespace,
        created=NOW - timedelta(seconds=age),
        policy=("CleanupPolicy", namespace, policy or f"policy-of-{run}"),
        volume=(namespace, claim) if claim else None,
    )


def told(waiting: list[Entry], active: list[Entry], limit: int = 10) -> dict[str, str]:
    """What becomes of each waiting run, in the order of the queue."""
    return {verdict.entry.run: verdict.reason or "admitted" for verdict in admit(waiting, active, limit=limit)}


CASES: dict[str, tuple[list[Entry], list[Entry], int, dict[str, str]]] = {
    "an empty queue": ([], [entry("a")], 1, {}),
    "there is room": ([entry("a"), entry("b")], [], 10, {"a": "admitted", "b": "admitted"}),
    "the oldest first": ([entry("new", age=1), entry("old", age=9)], [], 1, {"old": "admitted", "new": "GlobalLimit"}),
    "of one age, by namespace and name": (
        [entry("b"), entry("a"), entry("z", namespace="early")],
        [],
        1,
        {"z": "admitted", "a": "GlobalLimit", "b": "GlobalLimit"},
    ),
    "no room at all": ([entry("a")], [entry("x"), entry("y")], 2, {"a": "GlobalLimit"}),
    "fewer places than are taken, after the limit was lowered": (
        [entry("a")],
        [entry("x"), entry("y")],
        1,
        {"a": "GlobalLimit"},
    ),
    "one run a policy": ([entry("a", policy="p")], [entry("x", policy="p")], 10, {"a": "PolicyBusy"}),
    "one run a policy, both waiting": (
        [entry("a", policy="p", age=2), entry("b", policy="p", age=1)],
        [],
        10,
        {"a": "admitted", "b": "PolicyBusy"},
    ),
    "one run a volume": ([entry("a", claim="data")], [entry("x", claim="data")], 10, {"a": "VolumeBusy"}),
    "a volume of the same name elsewhere is another": (
        [entry("a", claim="data")],
        [entry("x", claim="data", namespace="other")],
        10,
        {"a": "admitted"},
    ),
    "a policy of the same name and another kind is another": (
        [entry("a", policy="p")],
        [Entry("x", "team", NOW, ("HealthCheck", "team", "p"), None)],
        10,
        {"a": "admitted"},
    ),
    "one that its volume holds back lets later ones pass": (
        [entry("a", claim="data", age=9), entry("b", age=1)],
        [entry("x", claim="data")],
        2,
        {"a": "VolumeBusy", "b": "admitted"},
    ),
    "one that waits for its turn holds its place": (
        [entry("a", age=9), entry("b", age=8), entry("c", age=7)],
        [entry("x")],
        2,
        {"a": "admitted", "b": "GlobalLimit", "c": "GlobalLimit"},
    ),
}


@pytest.mark.parametrize(("waiting", "active", "limit", "expected"), CASES.values(), ids=CASES)
def test_admits_within_the_limits(
    waiting: list[Entry], active: list[Entry], limit: int, expected: dict[str, str]
) -> None:
    verdicts = told(waiting, active, limit)
    assert verdicts == expected
    assert list(verdicts) == list(expected)


@pytest.mark.parametrize(
    ("waiting", "active", "words"),
    [
        (entry("a", policy="p"), entry("x", policy="p"), "run x of the same policy"),
        (entry("a", claim="data"), entry("x", claim="data"), "run x, which works on claim data"),
        (entry("a"), entry("x"), "All 1 places are taken (maxConcurrentRuns of the operator)"),
    ],
)
def test_says_what_is_in_the_way(waiting: Entry, active: Entry, words: str) -> None:
    [verdict] = admit([waiting], [active], limit=1)
    assert words in verdict.message


ENTRIES = st.builds(
    lambda run, policy, claim, age, namespace: entry(run, policy=policy, claim=claim, age=age, namespace=namespace),
    run=st.integers(0, 10**6).map(lambda number: f"run-{number}"),
    policy=st.sampled_from(["p", "q", "r", "s", "t"]),
    claim=st.sampled_from([None, "data", "logs", "dumps"]),
    age=st.integers(0, 5),
    namespace=st.sampled_from(["team", "other"]),
)
QUEUES = st.lists(ENTRIES, max_size=16, unique_by=lambda one: (one.namespace, one.run))


@given(queue=QUEUES, active=st.lists(ENTRIES, max_size=6), limit=st.integers(0, 12))
def test_laws_of_admission(queue: list[Entry], active: list[Entry], limit: int) -> None:
    verdicts = admit(queue, active, limit=limit)
    admitted = [verdict.entry for verdict in verdicts if verdict.admitted]

    # A verdict for every run, in the order of the queue; who waits is told why.
    assert [verdict.entry for verdict in verdicts] == sorted(
        queue, key=lambda one: (one.created, one.namespace, one.run)
    )
    assert all(bool(verdict.reason) != verdict.admitted for verdict in verdicts)

    # Never over a limit.
    assert len(admitted) <= max(0, limit - len(active))
    policies = [one.policy for one in admitted]
    volumes = [one.volume for one in admitted if one.volume]
    assert len(policies) == len(set(policies))
    assert len(volumes) == len(set(volumes))
    assert not set(policies) & {one.policy for one in active}
    assert not set(volumes) & {one.volume for one in active}

    # Nobody waits who need not: each is stopped by an active run, by one before it, or by the limit.
    for index, verdict in enumerate(verdicts):
        before = [*active, *(other.entry for other in verdicts[:index] if other.admitted)]
        free = (
            len(before) < limit
            and verdict.entry.policy not in {one.policy for one in before}
            and (verdict.entry.volume is None or verdict.entry.volume not in {one.volume for one in before})
        )
        assert verdict.admitted == free

    # The order in which they are listed is no matter, and who waits is admitted as soon as all others are gone.
    assert admit(reversed(queue), reversed(active), limit=limit) == verdicts or _ties_in_messages(active)
    assert all(admit([one], [], limit=1)[0].admitted for one in queue)


def _ties_in_messages(active: list[Entry]) -> bool:
    """Two active runs of one policy or volume (which never should be): either may be named."""
    policies = [one.policy for one in active]
    volumes = [one.volume for one in active if one.volume]
    return len(policies) > len(set(policies)) or len(volumes) > len(set(volumes))


def test_a_run_lost_with_its_node_frees_its_place_but_not_its_volume() -> None:
    lost = Entry("lost", "team", NOW, ("CleanupPolicy", "team", "a"), ("team", "data"), holds_place=False)
    same_volume = Entry("same", "team", NOW, ("CleanupPolicy", "team", "b"), ("team", "data"))
    another = Entry("another", "team", NOW, ("HealthCheck", "team", "c"), None)
    verdicts = {verdict.entry.run: verdict for verdict in admit([same_volume, another], [lost], limit=1)}
    assert verdicts["same"].reason == "VolumeBusy"
    assert verdicts["another"].admitted

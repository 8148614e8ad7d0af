from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from housekeeper_api import names
from housekeeper_operator.cluster import kinds
from housekeeper_operator.cluster.connection import Connection
from housekeeper_operator.cluster.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Fenced,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
)
from housekeeper_operator.cluster.events import Recorder
from housekeeper_operator.cluster.port import Cluster as Port
from housekeeper_operator.cluster.store import Store
from housekeeper_operator.main import utc_now
from housekeeper_operator.telemetry.metrics import Metrics
from tests.cluster.running import Cluster

Object = dict[str, Any]
Policy = Callable[..., Object]


def job(namespace: str, name: str, **labels: str) -> Object:
    """A Job that never makes a pod."""
    container = {"name": "none", "image": "none"}
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }


def lease(namespace: str, name: str, **labels: str) -> Object:
    """An object that no controller ever touches."""
    return {"metadata": {"namespace": namespace, "name": name, "labels": labels}, "spec": {"holderIdentity": "me"}}


async def test_what_is_written_is_in_the_store_before_any_watch_tells_it(
    port: Port, store: Store, namespace: str
) -> None:
    created = await port.create(kinds.JOB, job(namespace, "x"))
    held = store.get(kinds.JOB, namespace, "x")
    assert held is not None
    assert held["metadata"]["uid"] == created["metadata"]["uid"]
    assert (held["apiVersion"], held["kind"]) == ("batch/v1", "Job")

    await port.patch(kinds.JOB, namespace, "x", {"metadata": {"labels": {"a": "b"}}})
    held = store.get(kinds.JOB, namespace, "x")
    assert held is not None
    assert held["metadata"]["labels"]["a"] == "b"

    assert await port.delete(kinds.JOB, namespace, "x", uid=created["metadata"]["uid"])
    assert store.get(kinds.JOB, namespace, "x") is None
    assert not await port.delete(kinds.JOB, namespace, "x")


async def test_what_goes_later_stays_in_the_store_until_it_is_gone(port: Port, store: Store, namespace: str) -> None:
    await port.create(
        kinds.JOB, job(namespace, "x") | {"metadata": job(namespace, "x")["metadata"] | {"finalizers": ["a.b/c"]}}
    )
    assert await port.delete(kinds.JOB, namespace, "x")

    held = store.get(kinds.JOB, namespace, "x")
    assert held is not None
    assert held["metadata"]["deletionTimestamp"]

    await port.patch(kinds.JOB, namespace, "x", {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await port.get(kinds.JOB, namespace, "x")


async def test_a_status_is_written_through_its_subresource(
    port: Port, store: Store, namespace: str, policy: Policy
) -> None:
    await port.create(kinds.CLEANUP_POLICY, policy("x"))
    await port.patch(
        kinds.CLEANUP_POLICY,
        namespace,
        "x",
        {"status": {"schedule": "1 2 3 4 5"}, "spec": {"suspend": True}},
        subresource="status",
    )

    held = store.get(kinds.CLEANUP_POLICY, namespace, "x")
    assert held is not None
    assert held["status"]["schedule"] == "1 2 3 4 5"
    assert held["spec"]["suspend"] is False


async def missing(port: Port, namespace: str) -> None:
    await port.get(kinds.JOB, namespace, "missing")


async def missing_namespace(port: Port, _namespace: str) -> None:
    await port.create(kinds.JOB, job("no-such-namespace", "x"))


async def missing_patched(port: Port, namespace: str) -> None:
    await port.patch(kinds.JOB, namespace, "missing", {"metadata": {"labels": {"a": "b"}}})


async def made_twice(port: Port, namespace: str) -> None:
    await port.create(kinds.JOB, job(namespace, "x"))
    await port.create(kinds.JOB, job(namespace, "x"))


async def outdated_patch(port: Port, namespace: str) -> None:
    made = await port.create(kinds.LEASE, lease(namespace, "x"))
    version = made["metadata"]["resourceVersion"]
    changed = await port.patch(
        kinds.LEASE, namespace, "x", {"metadata": {"labels": {"a": "1"}}}, resource_version=version
    )
    assert changed["metadata"]["labels"] == {"a": "1"}
    await port.patch(kinds.LEASE, namespace, "x", {"metadata": {"labels": {"a": "2"}}}, resource_version=version)


async def outdated_replace(port: Port, namespace: str) -> None:
    made = await port.create(kinds.LEASE, lease(namespace, "x"))
    await port.patch(kinds.LEASE, namespace, "x", {"metadata": {"labels": {"a": "1"}}})
    await port.replace(kinds.LEASE, made)


async def another_deleted(port: Port, namespace: str) -> None:
    await port.create(kinds.JOB, job(namespace, "x"))
    await port.delete(kinds.JOB, namespace, "x", uid="0b1a7f8e-0000-0000-0000-000000000000")


async def apply_against_another(port: Port, namespace: str) -> None:
    made = await port.create(kinds.JOB, job(namespace, "x"))
    assert made["spec"]["suspend"]
    wanted = {"metadata": {"namespace": namespace, "name": "x"}, "spec": {"suspend": False}}
    await port.apply(kinds.JOB, wanted, force=False)


async def invalid(port: Port, namespace: str) -> None:
    wrong = job(namespace, "x")
    wrong["spec"]["parallelism"] = -1
    await port.create(kinds.JOB, wrong)


async def immutable(port: Port, namespace: str) -> None:
    await port.create(kinds.JOB, job(namespace, "x"))
    await port.patch(kinds.JOB, namespace, "x", {"spec": {"completionMode": "Indexed"}})


async def malformed(port: Port, namespace: str) -> None:
    await port.create(kinds.JOB, {"metadata": {"namespace": namespace, "name": "x"}, "spec": {"suspend": "perhaps"}})


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (missing, NotFound, 'get Job {namespace}/missing: jobs.batch "missing" not found'),
        (missing_namespace, NotFound, 'post Job no-such-namespace/x: namespaces "no-such-namespace" not found'),
        (missing_patched, NotFound, 'patch Job {namespace}/missing: jobs.batch "missing" not found'),
        (made_twice, AlreadyExists, 'jobs.batch "x" already exists'),
        (outdated_patch, Conflict, "the object has been modified"),
        (outdated_replace, Conflict, "the object has been modified"),
        (another_deleted, Conflict, "The object might have been deleted and then recreated"),
        (apply_against_another, Conflict, "conflict"),
        (invalid, Invalid, "spec.parallelism: Invalid value: -1"),
        (immutable, Invalid, "field is immutable"),
        (malformed, Invalid, "cannot be handled as a Job"),
    ],
)
async def test_refusals_are_told_apart(
    port: Port, namespace: str, request_: Callable[[Port, str], Any], error: type[ClusterError], words: str
) -> None:
    with pytest.raises(error) as raised:
        await request_(port, namespace)

    assert type(raised.value) is error
    assert words.format(namespace=namespace) in str(raised.value)


async def test_an_invalid_object_tells_its_fields(port: Port, policy: Policy) -> None:
    with pytest.raises(Invalid) as raised:
        await port.create(kinds.CLEANUP_POLICY, policy("x", rules=[], mode="Perhaps"))

    assert {field for field, _ in raised.value.causes} >= {"spec.rules", "spec.mode"}


@pytest.fixture
async def powerless(cluster: Cluster, namespace: str, connection: Connection) -> AsyncIterator[Port]:
    """The port with the rights of a service account that has none."""
    cluster.kubectl("create", "serviceaccount", "powerless", "-n", namespace)
    token = cluster.kubectl("create", "token", "powerless", "-n", namespace).stdout.strip()
    configuration = connection._configuration
    configuration.api_key = {"BearerToken": f"Bearer {token}"}
    configuration.cert_file = configuration.key_file = None
    made = Port(connection, metrics=Metrics())
    yield made
    await made.close()


async def test_missing_rights_are_told(powerless: Port, namespace: str) -> None:
    with pytest.raises(Forbidden, match=f"system:serviceaccount:{namespace}:powerless.*cannot list resource"):
        await powerless.list(kinds.CLEANUP_POLICY, namespace=namespace)


async def test_a_server_that_does_not_answer_is_unavailable(
    cluster: Cluster, connection: Connection, namespace: str
) -> None:
    metrics = Metrics()
    port = Port(connection, metrics=metrics, time_limit=1.0)
    try:
        with cluster.frozen("kube-apiserver"), pytest.raises(Unavailable, match="no answer within 1s"):
            await port.list(kinds.JOB, namespace=namespace)
        assert await port.list(kinds.JOB, namespace=namespace) == []
    finally:
        await port.close()
    labels = {"verb": "LIST", "kind": "Job"}
    assert metrics.registry.get_sample_value("housekeeper_api_requests_total", labels | {"code": "timeout"}) == 1
    assert metrics.registry.get_sample_value("housekeeper_api_requests_total", labels | {"code": "200"}) == 1


async def test_nothing_is_written_behind_the_fence(connection: Connection, namespace: str) -> None:
    def fence() -> None:
        raise Fenced("not the leader")

    port = Port(connection, metrics=Metrics(), fence=fence)
    try:
        for write in (
            port.create(kinds.JOB, job(namespace, "x")),
            port.apply(kinds.JOB, job(namespace, "x")),
            port.patch(kinds.JOB, namespace, "x", {}),
            port.replace(kinds.JOB, job(namespace, "x")),
            port.delete(kinds.JOB, namespace, "x"),
        ):
            with pytest.raises(Fenced):
                await write
        assert await port.list(kinds.JOB, namespace=namespace) == []
    finally:
        await port.close()


async def test_apply_owns_its_fields_and_leaves_the_others(port: Port, namespace: str) -> None:
    await port.apply(kinds.LEASE, lease(namespace, "x", mine="1", later="2"))
    await port.patch(kinds.LEASE, namespace, "x", {"spec": {"leaseTransitions": 3}})

    applied = await port.apply(kinds.LEASE, lease(namespace, "x", mine="1"))
    assert applied["metadata"]["labels"] == {"mine": "1"}
    assert applied["spec"] == {"holderIdentity": "me", "leaseTransitions": 3}

    again = await port.apply(kinds.LEASE, lease(namespace, "x", mine="1"))
    assert again["metadata"]["resourceVersion"] == applied["metadata"]["resourceVersion"], "nothing changed"
    assert {entry["manager"] for entry in again["metadata"]["managedFields"]} == {names.FIELD_MANAGER}


async def test_a_list_is_whole_however_many_pages_it_has(port: Port, namespace: str) -> None:
    await asyncio.gather(
        *(port.create(kinds.JOB, job(namespace, f"x{number}", parity=str(number % 2))) for number in range(10))
    )

    everything = await port.list(kinds.JOB, namespace=namespace)
    assert {obj["metadata"]["name"] for obj in everything} == {f"x{number}" for number in range(10)}
    assert {obj["kind"] for obj in everything} == {"Job"}
    assert len(await port.list(kinds.JOB, namespace=namespace, label_selector="parity=1")) == 5
    assert len(await port.list(kinds.JOB, namespace=namespace, field_selector="metadata.name=x3")) == 1
    assert {obj["metadata"]["namespace"] for obj in await port.list(kinds.JOB)} >= {namespace}


async def test_all_pages_show_one_state(port: Port, namespace: str) -> None:
    for number in range(8):
        await port.create(kinds.JOB, job(namespace, f"x{number}"))
    seen: list[str] = []
    states: set[str] = set()
    async for page, state in port.pages(kinds.JOB, namespace=namespace):
        seen += [obj["metadata"]["name"] for obj in page]
        states.add(state)
        if len(seen) == 3:
            await port.delete(kinds.JOB, namespace, "x7")
            await port.create(kinds.JOB, job(namespace, "x9"))

    assert seen == [f"x{number}" for number in range(8)]
    assert len(states) == 1


async def test_an_event_about_our_kinds_is_recorded_and_grows_into_a_series(
    port: Port, namespace: str, policy: Policy
) -> None:
    subject = await port.create(kinds.CLEANUP_POLICY, policy("x"))
    recorder = Recorder(port, instance="operator-0", metrics=Metrics(), now=utc_now)
    for _ in range(2):
        recorder.event(subject, type="Warning", reason="RunFailed", action="Harvest", note="It failed.")
        await recorder.flush(10)

    (event,) = await port.list(kinds.EVENT, namespace=namespace, field_selector="involvedObject.name=x")
    assert event["involvedObject"]["kind"] == "CleanupPolicy"
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "RunFailed", "It failed.")
    assert event["series"]["count"] == 2

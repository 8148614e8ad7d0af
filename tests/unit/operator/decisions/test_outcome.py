from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.conditions import TERMINAL_STATES, RunState
from housekeeper_operator.decisions.outcome import (
    MAX_MESSAGE,
    is_conclusive,
    not_started,
    of_pod,
    of_vanished_pod,
    pending_reason,
    word,
)
from housekeeper_operator.decisions.views import EPOCH
from tests.unit.operator.builders import JobBuilder, PodBuilder, ago, held_result, job, pod, result

CAMEL_CASE = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
FAILED, SUCCEEDED, TIMED_OUT = RunState.FAILED, RunState.SUCCEEDED, RunState.TIMED_OUT

ENDED = {
    "the worker says that all is done": (
        pod().exited(0, message=result()).succeeded(),
        (SUCCEEDED, "Succeeded", False, "Done."),
    ),
    "its message counts before the pod has a phase": (
        pod().running(ago(seconds=5)).exited(0, message=result()),
        (SUCCEEDED, "Succeeded", False, "Done."),
    ),
    "some items could not be removed": (
        pod().exited(3, message=result("PartiallySucceeded", "2 of 10 files stay.")).failed(),
        (RunState.PARTIALLY_SUCCEEDED, "PartiallySucceeded", False, "2 of 10 files stay."),
    ),
    "the worker failed and says why": (
        pod().exited(1, message=result("Failed", "I/O error on a.dump.")).failed(),
        (FAILED, "Failed", True, "I/O error on a.dump."),
    ),
    "the worker kept its own time limit": (
        pod().exited(1, message=result("TimedOut", "Not done within 1h.")).failed(),
        (TIMED_OUT, "TimedOut", True, "Not done within 1h."),
    ),
    "the volume is not as the policy says": (
        pod().exited(2, message=result("CouldNotRun", "There is no directory postgres.")).failed(),
        (FAILED, "CouldNotRun", False, "There is no directory postgres."),
    ),
    "a brake tripped": (
        pod().exited(4, message=result("Held", "60 % of the files would go.")).failed(),
        (RunState.HELD, "Held", False, "60 % of the files would go."),
    ),
    "a brake that fails the run": (
        pod()
        .exited(1, message=held_result("60 % of the files would go.", outcome="Failed", skipped={"held": 7}))
        .failed(),
        (FAILED, "Held", False, "60 % of the files would go."),
    ),
    "a message without a sentence still gives one": (
        pod().exited(1, message=result("Failed", "")).failed(),
        (FAILED, "Failed", True, "gives no reason"),
    ),
    "told to stop, nobody knows by whom": (
        pod().exited(1, message=result("Cancelled", "Stopped after 3 files.")).failed(),
        (FAILED, "Interrupted", True, "Stopped after 3 files."),
    ),
    "told to stop because the node is drained": (
        pod()
        .exited(1, message=result("Cancelled", "Stopped after 3 files."))
        .failed()
        .disrupted("EvictionByEvictionAPI", "Eviction API: evicting"),
        (FAILED, "Disrupted", True, "EvictionByEvictionAPI"),
    ),
    "told to stop at the pod's deadline": (
        pod()
        .exited(1, message=result("Cancelled", "Stopped after 3 files."))
        .failed("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
        (TIMED_OUT, "DeadlineExceeded", True, "Stopped after 3 files."),
    ),
    "evicted with its numbers": (
        pod()
        .on("node-a")
        .exited(1, message=result("Cancelled", "Stopped after 3 files."))
        .failed("Evicted", "The node was low on resource: memory."),
        (FAILED, "Evicted", True, "spec.pod.resources.requests"),
    ),
    "out of memory": (
        pod().exited(137, "OOMKilled").failed(),
        (FAILED, "OOMKilled", True, "spec.pod.resources.limits.memory"),
    ),
    "evicted without a word": (
        pod().on("node-a").exited(137).failed("Evicted", "The node was low on resource: ephemeral-storage."),
        (FAILED, "Evicted", True, "Node node-a evicted the pod"),
    ),
    "evicted before it had a container": (
        pod().on("node-a").failed("Evicted", "The node had condition: [DiskPressure]."),
        (FAILED, "Evicted", True, "DiskPressure"),
    ),
    "frozen past its deadline": (
        pod().exited(137).failed("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
        (TIMED_OUT, "DeadlineExceeded", True, "it hung, or its storage did"),
    ),
    "at its deadline before it began": (
        pod().on("node-a").waiting("ContainerCreating").failed("DeadlineExceeded", "Pod was active too long"),
        (FAILED, "DeadlineExceeded", False, "before the worker started: Pod was active too long"),
    ),
    "its container was lost with the node": (
        pod()
        .on("node-a")
        .exited(137, "ContainerStatusUnknown", message="The container could not be located when the pod was terminated")
        .failed()
        .disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
        (FAILED, "Disrupted", True, "Taint manager"),
    ),
    "its node is shut down": (
        pod()
        .on("node-a")
        .exited(137)
        .failed("Terminated", "Pod was terminated in response to imminent node shutdown."),
        (FAILED, "Terminated", True, "imminent node shutdown"),
    ),
    "the kubelet has no room for it": (
        pod().on("node-a").failed("OutOfhugepages-2Mi", "Node didn't have enough resource: hugepages-2Mi"),
        (FAILED, "OutOfhugepages2Mi", True, "enough resource"),
    ),
    "the container cannot be started": (
        pod().exited(128, "StartError", message="exec: housekeeper-worker: not found", started=EPOCH).failed(),
        (FAILED, "StartError", True, "exec: housekeeper-worker: not found"),
    ),
    "killed by a signal": (pod().exited(137).failed(), (FAILED, "Killed", True, "exit code 137")),
    "terminated by a signal": (pod().exited(143).failed(), (FAILED, "Killed", True, "exit code 143")),
    "exit code 0, message lost": (
        pod().exited(0).succeeded(),
        (SUCCEEDED, "Succeeded", False, "its numbers were lost"),
    ),
    "exit code 1, message lost": (pod().exited(1).failed(), (FAILED, "WorkerError", True, "exit code 1.")),
    "exit code 2, message lost": (pod().exited(2).failed(), (FAILED, "CouldNotRun", False, "Nothing was done.")),
    "exit code 3, message lost": (
        pod().exited(3).failed(),
        (RunState.PARTIALLY_SUCCEEDED, "PartiallySucceeded", False, "numbers were lost"),
    ),
    "exit code 4, message lost": (pod().exited(4).failed(), (FAILED, "Held", False, "nothing of the plan was removed")),
    "exit code 64": (pod().exited(64).failed(), (FAILED, "InvalidTask", False, "do not fit together")),
    "an exit code that nobody knows": (pod().exited(77).failed(), (FAILED, "WorkerError", True, "exit code 77.")),
    "garbled message": (
        pod().exited(1, message="Traceback (most recent call last): MemoryError").failed(),
        (FAILED, "WorkerError", True, "Its last words: Traceback"),
    ),
    "message of another release": (
        pod().exited(0, message=result(schemaVersion=99)).succeeded(),
        (SUCCEEDED, "Succeeded", False, "numbers were lost"),
    ),
    "message with an outcome of another release": (
        pod().exited(1, message=result(outcome="Postponed")).failed(),
        (FAILED, "WorkerError", True, "exit code 1."),
    ),
    "message whose outcome is no text": (
        pod().exited(1, message=result(outcome=["Failed"])).failed(),
        (FAILED, "WorkerError", True, "exit code 1."),
    ),
    "message that is nested without an end": (
        pod().exited(1, message="[" * 4000).failed(),
        (FAILED, "WorkerError", True, "exit code 1."),
    ),
    "numbers that the API would refuse": (
        pod().exited(0, message=result(cleanup={"scanned": -1, "matched": "many"})).succeeded(),
        (SUCCEEDED, "Succeeded", False, "Done."),
    ),
    "a phase and nothing else": (pod().failed(), (FAILED, "Unknown", True, "look at the node (none)")),
    "done, and nothing else": (pod().succeeded(), (SUCCEEDED, "Succeeded", False, "numbers were lost")),
}


@pytest.mark.parametrize(("ended", "expected"), ENDED.values(), ids=ENDED)
def test_says_why_an_attempt_ended(ended: PodBuilder, expected: tuple[RunState, str, bool, str]) -> None:
    outcome = of_pod(ended.view(), job().started().view())
    assert (outcome.state, outcome.reason, outcome.retryable) == expected[:3]
    assert expected[3] in outcome.message
    assert CAMEL_CASE.match(outcome.reason)


def test_the_numbers_of_an_interrupted_worker_are_kept() -> None:
    interrupted = pod().exited(1, message=result("Cancelled")).failed("Evicted", "low on memory")
    outcome = of_pod(interrupted.view(), None)
    assert outcome.result is not None
    assert outcome.result["cleanup"]["removed"] == 3


@pytest.mark.parametrize(
    ("vanished", "expected"),
    [
        (None, (FAILED, "JobDeleted", False)),
        (job().started(), (FAILED, "PodDeleted", True)),
        (job().failed(), (FAILED, "PodDeleted", True)),
        (
            job().failed("DeadlineExceeded", "Job was active longer than specified deadline"),
            (TIMED_OUT, "DeadlineExceeded", True),
        ),
        (job().completed(), (SUCCEEDED, "Succeeded", False)),
    ],
    ids=["job too", "job still runs", "job failed", "job's last resort", "job complete"],
)
def test_says_what_is_known_where_the_pod_is_gone(
    vanished: JobBuilder | None, expected: tuple[RunState, str, bool]
) -> None:
    outcome = of_vanished_pod(vanished.view() if vanished else None, "worker-x")
    assert (outcome.state, outcome.reason, outcome.retryable) == expected
    assert outcome.message


PENDING = {
    "no pod yet": (None, "", ("PodNotCreated", "Job controller")),
    "no pod, and the reason is known": (
        None,
        'pods "x" is forbidden: exceeded quota: small',
        ("PodNotCreated", "exceeded quota"),
    ),
    "no node is big enough": (
        pod().unschedulable("0/3 nodes are available: 3 Insufficient memory."),
        "",
        ("Unschedulable", "spec.pod (resources, nodeSelector)"),
    ),
    "the claim does not exist": (
        pod().unschedulable('0/1 nodes are available: persistentvolumeclaim "bakups" not found.'),
        "",
        ("VolumeNotReady", "correct its name"),
    ),
    "the claim is not bound": (
        pod().unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
        "",
        ("VolumeNotReady", "why it is not bound"),
    ),
    "the scheduler has not looked at it": (pod(), "", ("Unscheduled", "scheduler")),
    "the image is not there": (
        pod().on("node-a").waiting("ErrImagePull", "not found"),
        "",
        ("ImagePullFailed", "worker.image"),
    ),
    "the image was not there again": (
        pod().on("node-a").waiting("ImagePullBackOff", "Back-off pulling image"),
        "",
        ("ImagePullFailed", "imagePullSecrets"),
    ),
    "the container cannot be made": (
        pod().on("node-a").waiting("CreateContainerConfigError", "container has runAsNonRoot"),
        "",
        ("CreateContainerConfigError", "runAsNonRoot"),
    ),
    "the volume is not mounted": (
        pod().on("node-a").waiting("ContainerCreating"),
        "MountVolume.SetUp failed for volume data",
        ("ContainerCreating", "MountVolume.SetUp failed"),
    ),
    "the node is slow": (pod().on("node-a").waiting("ContainerCreating"), "", ("ContainerCreating", "Node node-a")),
}


@pytest.mark.parametrize(("waiting", "event", "expected"), PENDING.values(), ids=PENDING)
def test_says_what_a_pod_waits_for(waiting: PodBuilder | None, event: str, expected: tuple[str, str]) -> None:
    reason, sentence = pending_reason(waiting.view() if waiting else None, event)
    assert reason == expected[0]
    assert expected[1] in sentence
    outcome = not_started(waiting.view() if waiting else None, event, 900)
    assert (outcome.state, outcome.reason, outcome.retryable) == (FAILED, expected[0], False)
    assert outcome.message.startswith("No worker started within 900 s (spec.pendingTimeout). ")
    assert expected[1] in outcome.message


@pytest.mark.parametrize(
    ("ended", "conclusive"),
    [
        (pod().exited(0, message=result()), True),
        (pod().exited(137), False),
        (pod().exited(1, message=result("Cancelled")), False),
        (pod().exited(1, message="garbled"), False),
        (pod().exited(137).failed(), True),
        (pod().exited(1, message=result("Cancelled")).failed("Evicted", "low on memory"), True),
    ],
)
def test_waits_for_the_pods_reason_unless_the_worker_gave_its_own(ended: PodBuilder, conclusive: bool) -> None:
    assert is_conclusive(ended.view()) is conclusive


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Evicted", "Evicted"),
        ("OutOfexample.com/gpu", "OutOfexamplecomgpu"),
        ("42", "Unknown"),
        ("2Fast", "Fast"),
        ("-0", "Unknown"),
        ("", "Unknown"),
        ("x" * 100, "x" * 64),
        ("Größe", "Gre"),
    ],
)
def test_makes_a_word_of_any_reason(reason: str, expected: str) -> None:
    assert word(reason) == expected


TEXT = st.text(max_size=40)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)
OUTCOMES = st.sampled_from(
    ["Succeeded", "PartiallySucceeded", "Failed", "TimedOut", "Cancelled", "Held", "CouldNotRun"]
)
MESSAGES = st.one_of(
    TEXT,
    JSON.map(json.dumps),
    st.builds(
        lambda outcome, message, cleanup: result(outcome, cleanup=cleanup, message=message), OUTCOMES, JSON, JSON
    ),
    st.builds(
        lambda outcome, members: result(outcome, **members),
        OUTCOMES,
        st.dictionaries(st.sampled_from(["cleanup", "checks", "durationSeconds", "mode", "truncated"]), JSON),
    ),
)


@given(
    code=st.one_of(st.none(), st.integers(0, 255)),
    reason=TEXT,
    message=MESSAGES,
    phase=st.sampled_from(["Running", "Succeeded", "Failed"]),
    pod_reason=st.one_of(st.sampled_from(["", "Evicted", "DeadlineExceeded", "Terminated"]), TEXT),
    pod_message=st.text(max_size=3000),
    job_reason=st.one_of(st.none(), TEXT),
)
def test_whatever_is_left_gives_a_state_a_word_and_a_sentence(
    code: int | None,
    reason: str,
    message: str,
    phase: str,
    pod_reason: str,
    pod_message: str,
    job_reason: str | None,
) -> None:
    ended = pod().status(phase=phase, reason=pod_reason, message=pod_message)
    if code is not None:
        ended = ended.exited(code, reason, message=message)
    outcome = of_pod(ended.view(), None if job_reason is None else job().failed(job_reason, pod_message).view())
    assert outcome.state in TERMINAL_STATES | {RunState.HELD}
    assert CAMEL_CASE.match(outcome.reason)
    assert len(outcome.reason) <= 64
    assert 0 < len(outcome.message) <= MAX_MESSAGE
    assert outcome.message.encode()

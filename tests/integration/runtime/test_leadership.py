"""Who works, when replicas are killed and frozen, and when the API server is."""

from __future__ import annotations

import signal
import time

from tests.cluster.running import Cluster, wait_for
from tests.integration.runtime.processes import Process, Processes

SHORT = "6s"


def pair(processes: Processes, lease_duration: str) -> tuple[Process, Process]:
    """A leader at work, and a standby that says it is ready."""
    leader = processes.start("one", lease_duration=lease_duration)
    processes.working(leader)
    standby = processes.start("two", lease_duration=lease_duration)
    wait_for(lambda: standby.said("Waiting as a standby") and standby.ready(), 30, "standby")
    return leader, standby


def test_a_killed_leader_is_succeeded_within_20_seconds(processes: Processes) -> None:
    leader, standby = pair(processes, "15s")
    killed = time.monotonic()
    leader.send(signal.SIGKILL)
    took_over = processes.working(standby, after=killed)

    assert took_over - killed < 20
    assert processes.turns() == ["one", "two"]


def test_a_leader_told_to_stop_hands_over_at_once_and_ends_well(processes: Processes) -> None:
    leader, standby = pair(processes, "15s")
    told = time.monotonic()
    leader.send(signal.SIGTERM)

    assert leader.wait(10) == 0
    assert processes.working(standby, after=told) - told < 8
    assert processes.turns() == ["one", "two"]


def test_a_standby_told_to_stop_ends_at_once(processes: Processes) -> None:
    leader, standby = pair(processes, "15s")
    standby.send(signal.SIGTERM)

    assert standby.wait(5) == 0
    assert leader.ready()


def test_a_frozen_api_server_never_makes_two_leaders(cluster: Cluster, processes: Processes) -> None:
    leader, standby = pair(processes, SHORT)
    with cluster.frozen("kube-apiserver"):
        frozen = time.monotonic()
        assert leader.wait(10) != 0
        ended = time.monotonic()
        assert ended - frozen < 6
    took_over = processes.working(standby, after=frozen)

    assert took_over > ended
    assert leader.said("Leadership lost: ending this process")
    assert processes.turns() == ["one", "two"]


def test_a_leader_that_was_frozen_finds_itself_replaced_and_does_nothing_more(processes: Processes) -> None:
    leader, standby = pair(processes, SHORT)
    leader.send(signal.SIGSTOP)
    frozen = time.monotonic()
    took_over = processes.working(standby, after=frozen)
    leader.send(signal.SIGCONT)

    assert leader.wait(5) != 0
    assert took_over - frozen < 10
    assert standby.ready()


def test_an_outage_shorter_than_the_lease_is_sat_out(cluster: Cluster, processes: Processes) -> None:
    leader = processes.start("one", lease_duration="30s")
    processes.working(leader)
    with cluster.killed("kube-apiserver"):
        pass
    back = time.monotonic()
    processes.working(leader, after=back)

    wait_for(leader.ready, 30, "readiness")
    assert leader.probe("/healthz") == (200, "ok\n")
    leader.send(signal.SIGTERM)
    assert leader.wait(10) == 0

"""What a clean-up does with quarantines: moves what its rules say, and purges what is due."""

from __future__ import annotations

from housekeeper_api.task import Cleanup, Task, TaskError
from housekeeper_worker.audit import Audit
from housekeeper_worker.quarantine.manifest import Header
from housekeeper_worker.quarantine.moving import Moving
from housekeeper_worker.quarantine.purge import Purge
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.root import VolumeRoot


def moving(task: Task, what: Cleanup, root: VolumeRoot, now_ns: int) -> Moving:
    """The act of the rules with `action: Quarantine`, maybe of none. Raises `TaskError`."""
    rules = frozenset(number for number, rule in enumerate(what.rules) if rule.action == "Quarantine")
    if rules and what.quarantine_seconds is None:
        raise TaskError("task.cleanup.quarantineSeconds: missing, and a rule has the action Quarantine")
    return Moving(root, rules, _header(task, what), now_ns)


def purge(
    task: Task, what: Cleanup, root: VolumeRoot, current: bytes, now_ns: int, tally: Tally, audit: Audit, stop: Stop
) -> None:
    """Purge the policy's quarantines whose time is over, but for `current`. Raises `AuditLost`."""
    if what.quarantine_seconds is not None and stop.reason is None and not tally.stopped_by_fault:
        Purge(root, _header(task, what), current, now_ns, tally, audit, stop, what.open_files).run()


def _header(task: Task, what: Cleanup) -> Header:
    return Header(task.run, task.namespace, task.policy, task.attempt, what.quarantine_seconds or 0)

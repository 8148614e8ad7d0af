"""What of an approved plan may still be carried out: what a fresh look at the volume would remove too.

An approval only narrows. What changed, and what the rules would keep by now, stays; what is new is not touched. Files
are compared by what survives detaching, attaching and chown: inode, modification time, size, and birth time where the
file system tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from housekeeper_api.task import Cleanup, Task
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.held import place
from housekeeper_worker.held.plan_file import Births, DamagedPlan, Header, Record
from housekeeper_worker.logs import timestamp
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.retention.records import Records
from housekeeper_worker.volume.root import VolumeRoot


class Approval(NamedTuple):
    """An approved plan can be carried out."""

    plan: Plan
    """Of a fresh plan, what the approved one has too."""
    items: int
    """Items of the approved plan."""
    refused: int = 0
    """Those that were approved to be quarantined, and would be removed by now."""


class Lost(NamedTuple):
    """The approved plan cannot be carried out."""

    why: str
    """A clause that goes on after "the approved plan"."""


def approved(
    task: Task, what: Cleanup, root: VolumeRoot, plan: Plan, births: Births, *, file_system: str, now_ns: int
) -> Approval | Lost:
    """Look up the plan that `what.approve` names, and find which items of the fresh `plan` it approves."""
    first, *others = place.places(what)
    found = _approved_at(task, first, root, plan, births, file_system=file_system, now_ns=now_ns)
    for where in others:
        if isinstance(found, Approval):
            break
        other = _approved_at(task, where, root, plan, births, file_system=file_system, now_ns=now_ns)
        found = other if isinstance(other, Approval) else found
    return found


def _approved_at(
    task: Task, what: Cleanup, root: VolumeRoot, plan: Plan, births: Births, *, file_system: str, now_ns: int
) -> Approval | Lost:
    digest = (what.approve or "").removeprefix("sha256:")
    try:
        with place.plans_directory(task, what, root, create=False) as directory, place.opened(directory, digest) as one:
            if why := _foreign(one.header, task, what, file_system, now_ns):
                return Lost(why)
            acts = _Acts(one.header, plan, what)
            narrowed = common(plan, one.records(), births, acts.allow)
            if one.digest != digest:
                return Lost("is damaged: its digest is another one")
            return Approval(narrowed, one.header.items, acts.refused)
    except FileNotFoundError:
        return Lost(f"is not there: there is no {place.shown_place(task, what, digest[:12] + '…')}")
    except DamagedPlan as error:
        return Lost(f"is damaged: {error}")
    except (OSError, CouldNotRun) as error:
        return Lost(f"cannot be read: {place.why_not(error)}")


def _foreign(header: Header, task: Task, what: Cleanup, file_system: str, now_ns: int) -> str | None:
    if not place.is_of(header, task):
        return f"is one of the policy {header.namespace}/{header.policy}"
    if header.file_system != file_system:
        return f"is one of another volume ({header.file_system}, and this is {file_system})"
    if file_system == "none:":
        return "cannot be known again: this file system has no identity"
    if header.now_ns > now_ns:
        return f"was made at {timestamp(header.now_ns)}, which this node's clock has still before it"
    if not what.approved_in_time and place.is_expired(header, task, what, now_ns):
        return f"has expired: it was made at {timestamp(header.now_ns)}"
    return None


class _Acts:
    """Looks that nobody who approved a quarantine gets a removal, after the policy was edited."""

    def __init__(self, header: Header, plan: Plan, what: Cleanup) -> None:
        """Raises `DamagedPlan`."""
        try:
            approved_actions = [header.rules[cause.rule]["action"] for cause in header.causes]
        except (IndexError, KeyError, TypeError):
            raise DamagedPlan("its causes name rules that it does not have") from None
        self._quarantined = {number for number, action in enumerate(approved_actions) if action == "Quarantine"}
        self._removed = {number for number, one in enumerate(plan.causes) if what.rules[one.rule].action == "Delete"}
        self.refused = 0

    def allow(self, approved_cause: int, cause: int) -> bool:
        """Whether what was approved for one cause may go for another, by their numbers in the two plans."""
        refused = approved_cause in self._quarantined and cause in self._removed
        self.refused += refused
        return not refused


def common(
    plan: Plan,
    approved_records: Iterator[Record],
    births: Births,
    allow: Callable[[int, int], bool] = lambda _, __: True,
) -> Plan:
    """`plan` without what is not the same item in `approved_records`, or not to go in such a way. Both come by path
    bytes, so that neither is held in memory. Reads the records to their end, so that their digest is known.

    `allow` is asked with the number of the approved cause, and of the one by which the item would go now.
    """
    record = next(approved_records, None)

    def stays(path: bytes, records: Records, place: int) -> bool:
        nonlocal record
        while record is not None and record.path < path:
            record = next(approved_records, None)
        if record is None or record.path != path:
            return False
        _, cause, inode, modified, size, _, born = record
        return (
            records.inode[place] == inode
            and records.modified[place] == modified
            and records.size[place] == size
            and (born is None or (records.born[place] or births(path)) == born)
            and allow(cause, records.cause[place])
        )

    narrowed = plan.filtered(stays)
    for _ in approved_records:
        pass
    return narrowed

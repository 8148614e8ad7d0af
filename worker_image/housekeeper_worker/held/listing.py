"""Stored plans for a person, who must see what he approves."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from housekeeper_api.quantities import format_bytes
from housekeeper_worker.audit import path_member
from housekeeper_worker.cli_output import plain, table_of
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.held import place
from housekeeper_worker.held.plan_file import DamagedPlan, Header, Record, StoredPlan
from housekeeper_worker.logs import timestamp
from housekeeper_worker.retention.groups import words
from housekeeper_worker.retention.plan import Cause
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.own import own_directory
from housekeeper_worker.volume.root import VolumeRoot


def show(root: str, digest: str | None, *, now_ns: int, as_json: bool) -> None:
    """List the plans that are stored on a volume, or, with (the beginning of) a `digest`, the items of one.

    `root` may be the volume that was cleaned, or a directory with plans on a report volume. Raises `CouldNotRun`.
    """
    with _directory(root) as directory:
        names = [] if directory is None else place.names(directory)
        if digest is None:
            _list([(name, _header(directory, name)) for name in names], now_ns, as_json=as_json)
            return
        wanted = digest.removeprefix("sha256:")
        found = [name for name in names if wanted and name.startswith(wanted)]
        if directory is None or len(found) != 1:
            raise CouldNotRun(
                f"{len(found)} plans of {len(names)} that are stored here begin with {digest}: name one of those that "
                f"`housekeeper plans --root {root}` lists"
            )
        try:
            with place.opened(directory, found[0]) as stored:
                _show(stored, found[0], now_ns, as_json=as_json)
        except DamagedPlan as error:
            raise CouldNotRun(f"the plan sha256:{found[0]} is damaged: {error}; do not approve it") from error
        except OSError as error:
            raise CouldNotRun(f"the plan sha256:{found[0]} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _directory(path: str) -> Iterator[int | None]:
    with contextlib.ExitStack() as stack:
        try:
            root = stack.enter_context(VolumeRoot.open(path))
            if place.names(root.fd):
                directory: int | None = root.fd
            else:
                directory = stack.enter_context(own_directory(root, place.PLANS, create=False))
        except FileNotFoundError:
            directory = None
        except OSError as error:
            raise CouldNotRun(f"the plans of {path} cannot be read: {place.why_not(error)}") from error
        yield directory


def _header(directory: int | None, name: str) -> Header | None:
    """None for a plan that cannot be read."""
    try:
        with place.opened(-1 if directory is None else directory, name) as stored:
            return stored.header
    except (OSError, DamagedPlan):
        return None


def _list(plans: list[tuple[str, Header | None]], now_ns: int, *, as_json: bool) -> None:
    plans.sort(key=lambda plan: 0 if plan[1] is None else -plan[1].now_ns)
    if as_json:
        listed = [_members(name, header, now_ns) for name, header in plans]
        sys.stdout.write(json.dumps({"plans": listed}) + "\n")
        return
    console, table = table_of("Plan", "Policy", "When", "Items", "Size", "Until", "Why")
    for name, header in plans:
        if header is None:
            table.add_row(f"sha256:{name}", "", "", "", "", "", "damaged: it cannot be approved")
            continue
        cells = (
            f"sha256:{name}",
            f"{header.namespace}/{header.policy}",
            _time(header.now_ns),
            str(header.items),
            format_bytes(header.bytes),
            _until(header, now_ns),
            "; ".join(header.held) or "a dry run",
        )
        table.add_row(*map(plain, cells))
    if plans:
        console.print(table)
    else:
        console.print("no plans are stored here")


def _members(name: str, header: Header | None, now_ns: int) -> dict[str, Any]:
    if header is None:
        return {"planDigest": f"sha256:{name}", "damaged": True}
    expires = header.expires_ns
    return {
        "planDigest": f"sha256:{name}",
        "namespace": header.namespace,
        "policy": header.policy,
        "run": header.run,
        "mode": header.mode,
        "time": timestamp(header.now_ns),
        "expires": None if expires is None else timestamp(expires),
        "expired": expires is not None and now_ns > expires,
        "items": header.items,
        "bytes": header.bytes,
        "held": header.held,
        "fileSystem": header.file_system,
    }


def _show(stored: StoredPlan, name: str, now_ns: int, *, as_json: bool) -> None:
    """Every item, once the digest is known to be right: nobody should look at anything else."""
    causes = Counter(record.cause for record in stored.records())
    if stored.digest != name:
        raise DamagedPlan("its digest is another one")
    header, again = stored.header, stored.again()
    rules = [str(rule.get("name", "")) for rule in header.rules]
    acts: Counter[str] = Counter()
    try:
        decisions = [_decision(header, cause) for cause in header.causes]
        for number, count in causes.items():
            acts[decisions[number]] += count
    except (AttributeError, IndexError, TypeError):
        raise DamagedPlan("its causes name rules that it does not have") from None
    if as_json:
        counts = {"remove": acts["Remove"], "quarantine": acts["Quarantine"]}
        sys.stdout.write(f'{json.dumps(_members(name, header, now_ns) | counts)[:-1]}, "decisions": [')
        for number, record in enumerate(again.records()):
            members = {"decision": decisions[record.cause], **_item(record, header, rules)}
            sys.stdout.write(f"{',' if number else ''}\n{{{path_member(record.path)}, {json.dumps(members)[1:]}")
        sys.stdout.write("]}\n")
        return
    console, table = table_of("Decision", "Path", "Size", "Modified", "Rule", "Group", "Reason")
    for record in again.records():
        cause = header.causes[record.cause]
        told = shown(record.path), format_bytes(record.allocated), _time(record.modified), rules[cause.rule]
        cells = (decisions[record.cause], *told, words(cause.group), ", ".join(cause.reasons))
        table.add_row(*map(plain, cells))
    console.print(table)
    would = f": {acts['Remove']} would be removed and {acts['Quarantine']} quarantined" if acts["Quarantine"] else ""
    console.print(plain(f"{header.items} files ({format_bytes(header.bytes)}), planned {_time(header.now_ns)}{would}"))
    console.print(plain("; ".join(header.held) or "the plan of a dry run"), soft_wrap=True)


def _decision(header: Header, cause: Cause) -> str:
    """How the items of a cause would go."""
    return "Quarantine" if header.rules[cause.rule].get("action") == "Quarantine" else "Remove"


def _item(record: Record, header: Header, rules: list[str]) -> dict[str, Any]:
    cause = header.causes[record.cause]
    return {
        "rule": rules[cause.rule],
        "group": dict(cause.group),
        "reasons": cause.reasons,
        "size": record.size,
        "bytes": record.allocated,
        "time": timestamp(record.modified),
        "inode": record.inode,
    }


def _time(ns: int) -> str:
    return timestamp(ns)[:19] + "Z"


def _until(header: Header, now_ns: int) -> str:
    expires = header.expires_ns
    if expires is None:
        return ""
    return "expired" if now_ns > expires else _time(expires)

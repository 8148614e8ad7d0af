"""What the command line prints: tables for people, one JSON object for programs. Rich is imported only for a table."""

from __future__ import annotations

import json
import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from housekeeper_api.quantities import format_bytes
from housekeeper_api.result import Cleanup, Result, as_dict
from housekeeper_api.task import Rule
from housekeeper_worker.audit import path_member
from housekeeper_worker.logs import timestamp
from housekeeper_worker.retention.decide import Decided, Verdict, decision
from housekeeper_worker.retention.groups import words
from housekeeper_worker.retention.paths import Chunk, in_path_order, indices_by_name
from housekeeper_worker.volume.faults import Fault, why_it_stays
from housekeeper_worker.volume.lease import Use
from housekeeper_worker.volume.names import shown

if TYPE_CHECKING:
    from rich.console import Console

    from housekeeper_worker.simulation import Replayed

_UNSELECTED: Final = "no rule selects it"
_NOT_KNOWN: Final = -(2**63)
"""In a column: nobody looked."""
_STYLES: Final = {"Passed": "green", "Warning": "yellow", "Failed": "red", "Unknown": "magenta"}


class Decisions:
    """Every decision of a run in columns, for a listing in order of path."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._chunks: list[Chunk] = []
        self._directory = b""
        self._names: list[bytes] = []
        self._rule = array("B")
        self._verdict = array("B")
        self._why = array("I")
        self._whys: dict[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], int] = {}
        """Reasons and groups, which many files share, numbered."""
        self._size = array("q")
        self._allocated = array("q")
        self._time = array("q")
        self._stays: dict[bytes, str] = {}
        """Items of the plan that would stay, with the reason. A dry run looks for a bounded number of them."""

    def add(self, decided: Decided) -> None:
        """Take one decision, as `survey.OnDecision`."""
        directory, _, name = decided.path.rpartition(b"/")
        if directory != self._directory:
            self._close_chunk()
            self._directory = directory
        self._names.append(name)
        self._rule.append(decided.rule)
        self._verdict.append(decided.verdict)
        why = decided.reasons, tuple(decided.group.items())
        self._why.append(self._whys.setdefault(why, len(self._whys)))
        self._size.append(_NOT_KNOWN if decided.size is None else decided.size)
        self._allocated.append(_NOT_KNOWN if decided.allocated is None else decided.allocated)
        self._time.append(_NOT_KNOWN if decided.time is None else decided.time)

    def stays(self, path: bytes, fault: Fault) -> None:
        """Take back that an item would go: it is open, say."""
        self._stays[path] = why_it_stays(fault)

    def _close_chunk(self) -> None:
        if self._names:
            count = len(self._names)
            self._chunks.append(Chunk(self._directory, b"\0".join(self._names), len(self._rule) - count, count))
            self._names = []

    def rows(self) -> Iterator[tuple[Decided, Rule]]:
        """All of them with their rules, by path bytes."""
        self._close_chunk()
        whys = list(self._whys)
        for path, index in in_path_order(indices_by_name(self._chunks)):
            reasons, group = whys[self._why[index]]
            verdict = Verdict(self._verdict[index])
            if path in self._stays:
                reasons, verdict = (self._stays[path],), Verdict.KEPT
            decided = Decided(
                path,
                self._rule[index],
                verdict,
                reasons,
                dict(group),
                _known(self._size[index]),
                _known(self._allocated[index]),
                _known(self._time[index]),
            )
            yield decided, self._rules[decided.rule]


def print_result_json(result: Result, decisions: Decisions | None = None) -> None:
    """One JSON object: the result as in a termination message, uncut, and `decisions` of a plan beside it."""
    text = json.dumps(as_dict(result))
    if decisions is None:
        sys.stdout.write(f"{text}\n")
        return
    sys.stdout.write(f'{text[:-1]}, "decisions": [')
    for number, (row, rule) in enumerate(decisions.rows()):
        members = {
            "decision": _planned(row, rule),
            "rule": rule.name,
            "group": dict(row.group),
            "reason": ", ".join(row.reasons),
            "reasons": row.reasons,
            "size": row.size,
            "bytes": row.allocated,
            "time": None if row.time is None else timestamp(row.time),
        }
        sys.stdout.write(f"{',' if number else ''}\n{{{path_member(row.path)}, {json.dumps(members)[1:]}")
    sys.stdout.write("]}\n")


def print_plan_table(result: Result, decisions: Decisions, *, every: bool) -> None:
    """A table of what would go, with `every` also of what stays, and the result below."""
    console, table = table_of("Decision", "Path", "Size", "Time", "Rule", "Group", "Reason")
    for row, rule in decisions.rows():
        if every or row.verdict is Verdict.REMOVE:
            size = "" if row.allocated is None else format_bytes(row.allocated)
            cells = (_planned(row, rule), shown(row.path), size, _time(row.time))
            table.add_row(*map(plain, (*cells, rule.name, words(row.group), ", ".join(row.reasons))))
    if table.row_count:
        console.print(table)
    _print_summary(console, result, with_use=True)


def _planned(row: Decided, rule: Rule) -> str:
    """Keep, or how the item would go by its rule: Remove or Quarantine."""
    return "Quarantine" if row.verdict is Verdict.REMOVE and rule.action == "Quarantine" else decision(row.verdict)


def _known(number: int) -> int | None:
    return None if number == _NOT_KNOWN else number


def _time(ns: int | None) -> str:
    return "" if ns is None else timestamp(ns)[:19] + "Z"


def print_simulation(
    paths: Sequence[str], decided: Sequence[Decided | None], rules: Sequence[Rule], *, as_json: bool
) -> None:
    """A line for each item, in the order in which they came."""
    if as_json:
        for path, one in zip(paths, decided, strict=True):
            members = {
                "path": path,
                "decision": "Keep" if one is None else decision(one.verdict),
                "rule": None if one is None else rules[one.rule].name,
                "group": {} if one is None else dict(one.group),
                "reasons": [_UNSELECTED] if one is None else one.reasons,
            }
            sys.stdout.write(f"{json.dumps(members)}\n")
        return
    console, table = table_of("Decision", "Path", "Time", "Rule", "Group", "Reason")
    for path, one in zip(paths, decided, strict=True):
        told = shown(os.fsencode(path))
        if one is None:
            table.add_row(*map(plain, ("Keep", told, "", "", "", _UNSELECTED)))
        else:
            cells = (decision(one.verdict), told, _time(one.time), rules[one.rule].name, words(one.group))
            table.add_row(*map(plain, (*cells, ", ".join(one.reasons))))
    console.print(table)


def print_replay(runs: Iterable[Replayed], *, as_json: bool) -> None:
    """A line for each run: when, what is there afterwards, and what it removed, or why it was held."""
    if as_json:
        for now, present, removed, held in runs:
            members = {
                "now": timestamp(now),
                "items": [item.path for item in present],
                "removed": [item.path for item in removed],
                **({} if held is None else {"held": held}),
            }
            sys.stdout.write(f"{json.dumps(members)}\n")
        return
    console, table = table_of("Run", "Items", "Size", "Removed")
    for now, present, removed, held in runs:
        size = format_bytes(sum(item.size for item in present))
        names = ", ".join(shown(os.fsencode(item.path)) for item in removed) if held is None else f"held: {held}"
        table.add_row(*map(plain, (_time(now), str(len(present)), size, names)))
    console.print(table)


def print_run_table(result: Result) -> None:
    """The result of a run."""
    console, table = table_of("", "")
    table.show_header = False
    if result.cleanup is not None:
        done = result.cleanup
        freed = "" if done.freed_on_disk is None else f" ({format_bytes(done.freed_on_disk)} on disk)"
        for name, value in (
            ("scanned", str(done.scanned)),
            ("selected", str(done.matched)),
            ("would remove" if result.mode == "DryRun" else "removed", str(done.removed)),
            ("freed", format_bytes(done.bytes_freed) + freed),
            *_quarantine_rows(result),
            *((f"stayed: {why}", str(count)) for why, count in done.skipped.items()),
            *((("open files", told),) if (told := _unknown_use(done)) else ()),
            ("plan", done.plan_digest),
            *((("plan stored", done.plan_stored),) if done.plan_stored else ()),
        ):
            table.add_row(name, plain(value))
        console.print(table)
    _print_summary(console, result)


def print_facts(facts: Mapping[str, Any], sentence: str, *, as_json: bool) -> None:
    """Members of one thing: a JSON object, or a table with a sentence below."""
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    console, table = table_of("", "")
    table.show_header = False
    for name, value in facts.items():
        if name not in {"state", "outcome", "message"} and value != "":
            table.add_row(name, plain(value if isinstance(value, str) else json.dumps(value)))
    console.print(table)
    console.print(plain(sentence), soft_wrap=True)


def _quarantine_rows(result: Result) -> Iterator[tuple[str, str]]:
    if (done := result.cleanup) is None:
        return
    if done.quarantined:
        verb = "would quarantine" if result.mode == "DryRun" else "quarantined"
        until = f", until {done.restorable_until}" if done.restorable_until else ""
        yield verb, f"{done.quarantined} ({format_bytes(done.bytes_quarantined)}{until})"
    if done.purged:
        yield "purged", f"{done.purged} ({format_bytes(done.bytes_purged)})"


def _unknown_use(done: Cleanup) -> str:
    """Of how many files nobody could tell whether they are open, and what decided instead; empty if of none."""
    if not (unknown := done.open_files.get(Use.UNKNOWN, 0)):
        return ""
    # Strict keeps what is not known, and all of it. A rehearsal looks at a part of the plan only.
    decided = "Strict: they stay" if done.skipped.get(Fault.UNKNOWN_USE) else "settleTime decided"
    return f"unknown {unknown} ({decided})"


def print_restore_table(result: Result) -> None:
    """The result of a restore."""
    console, table = table_of("", "")
    table.show_header = False
    if (done := result.restore) is not None:
        for name, value in (
            ("would restore" if result.mode == "DryRun" else "restored", done.restored),
            ("in quarantine still: conflicts", done.conflicts),
            ("directories made", done.directories_made),
        ):
            table.add_row(name, str(value))
        console.print(table)
        for error in done.errors:
            console.print(plain(f"stays: {error}"), style="red", soft_wrap=True)
    console.print(plain(f"{result.outcome}: {result.message}"), soft_wrap=True)


def print_restorable(found: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """What can be restored, a line each, the oldest first."""
    if as_json:
        sys.stdout.write(f"{json.dumps({'quarantines': found})}\n")
        return
    console, table = table_of("Quarantine", "Run", "Policy", "Time", "Until", "Items", "Size")
    for one in found:
        size = format_bytes(int(str(one["bytes"])))
        cells = (*(str(one[key]) for key in ("quarantine", "run", "policy", "time", "until", "items")), size)
        table.add_row(*map(plain, cells))
    console.print(table)


def print_checks_table(result: Result) -> None:
    """The checks of a HealthCheck."""
    console, table = table_of("Check", "Result", "Value", "Unit", "Message")
    for check in result.checks or ():
        colour = _STYLES[check.result]
        table.add_row(check.name, f"[{colour}]{check.result}[/{colour}]", check.value, check.unit, plain(check.message))
    console.print(table)
    _print_summary(console, result)


def _print_summary(console: Console, result: Result, *, with_use: bool = False) -> None:
    """`with_use`: also what is not known of open files, where no table above says it."""
    if result.cleanup is not None:
        for error in result.cleanup.errors:
            console.print(plain(f"error: {error}"), style="red", soft_wrap=True)
        if with_use and (told := _unknown_use(result.cleanup)):
            console.print(plain(f"open files: {told}"))
        for note in result.cleanup.notes:
            console.print(plain(f"note: {note}"), soft_wrap=True)
    console.print(plain(f"{result.outcome}: {result.message}"), soft_wrap=True)


def table_of(*columns: str) -> tuple[Console, Any]:
    """Where to print, and an empty table with these columns."""
    from rich.box import SIMPLE  # noqa: PLC0415 - 60 ms that -o json does not pay
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    # Piped into a file there is no width to keep to, and a cut path would be of no use.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    table = Table(box=SIMPLE, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column == "Size" else "left")
    return console, table


def plain(text: str) -> str:
    """`text` without anything that rich would read as markup."""
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)

"""What the commands of `housekeeper` do.

Exit codes are those of a worker. With JSON standard output is exactly one object, also when something is wrong (of
`simulate` it is one a line, and one when something is wrong); logs go to standard error, and so does the audit of
`run` unless a file is named.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from housekeeper_api.durations import Duration
from housekeeper_api.quantities import parse_quantity
from housekeeper_api.result import PLAN_DIGEST, Result
from housekeeper_api.task import Cleanup, Health, Mode, Restore, Task, TaskError
from housekeeper_worker import cli_output, last_run, past_runs, policy_file, quick_rules, report
from housekeeper_worker.audit import Audit
from housekeeper_worker.audit.destination import appended_audit
from housekeeper_worker.cleanup import clean
from housekeeper_worker.ending import Ended, finish, say
from housekeeper_worker.errors import CouldNotRun, InvalidItems
from housekeeper_worker.quick_rules import QuickRules
from housekeeper_worker.stop import stopping_on_signals

_RESTORE_SECONDS: Final = 7 * 86_400.0
"""No policy says how long a restore may take, and a person is there to stop it."""


def plan(
    policy: str | None,
    quick: QuickRules,
    root: str,
    *,
    as_json: bool,
    every: bool,
    capacity: str | None = None,
    state: str | None = None,
    report_volume: str | None = None,
) -> None:
    """Print what a policy would remove; with `every`, in the table, also what stays. Ends the process."""

    def act() -> Ended:
        source = quick_rules.source(policy, quick)
        task, what = _cleanup(policy_file.load(source, "CleanupPolicy", "DryRun").task, root, capacity)
        what = _remembering(task, what, state, report_volume)
        decisions = cli_output.Decisions(what.rules)
        with stopping_on_signals(task.timeout_seconds) as stop:
            result = clean(
                task,
                what,
                now_ns=time.time_ns(),
                stop=stop,
                audit=Audit(None, task.run),
                on_decision=decisions.add,
                on_stay=decisions.stays,
            )

        def tell() -> None:
            if as_json:
                cli_output.print_result_json(result, decisions)
            else:
                cli_output.print_plan_table(result, decisions, every=every)

        return Ended(result, tell)

    finish(act, as_json=as_json)


def run(
    policy: str | None,
    quick: QuickRules,
    root: str,
    *,
    as_json: bool,
    mode: Mode | None,
    dry_run: bool,
    audit: str | None,
    capacity: str | None = None,
    approve: str | None = None,
    state: str | None = None,
    report_volume: str | None = None,
) -> None:
    """Carry out a policy in its own mode, or in `mode`; with `approve` a plan that was held. Ends the process.

    `audit`: the file to which the audit is appended; None: standard error. `state`: where the run is remembered.
    """

    def act() -> Ended:
        source, wanted = quick_rules.source(policy, quick), quick_rules.mode(mode, dry_run=dry_run, quick=quick)
        if approve is not None and not PLAN_DIGEST.fullmatch(approve):
            raise TaskError(f"--approve: {approve!r} is no digest: write sha256: and 64 hexadecimal digits")
        loaded = policy_file.load(source, "CleanupPolicy", wanted)
        task, what = _cleanup(loaded.task, root, capacity)
        now_ns = time.time_ns()
        # Before anything is remembered: a state that is damaged, or another policy's, stays as it is.
        what = dataclasses.replace(_remembering(task, what, state, report_volume), approve=approve)
        if state is not None:
            past_runs.check_writable(state)
        with last_run.remembering(last_run.place(root, state), loaded, root, now_ns) as remember:
            with appended_audit(audit, task.run) as written, stopping_on_signals(task.timeout_seconds) as stop:
                result = clean(task, what, now_ns=now_ns, stop=stop, audit=written)
            remember(result)
        if state is not None:
            try:
                past_runs.add(state, past_runs.Subject.of(task, root), result, now_ns)
            except CouldNotRun as error:
                # What was done is done, and told.
                result = report.with_notes(report.failure_of(result, str(error)), [str(error)])
        options = {
            "--root": root,
            "--capacity": capacity,
            "--state": state,
            "--report": report_volume,
            "--audit": audit,
        }
        if policy is not None and (mode is not None or task.mode == "DryRun"):
            options["--mode"] = "Enforce"  # quick rules have --force
        what_for = quick.options() if policy is None else [policy]

        def tell() -> None:
            try:
                _print(result, cli_output.print_run_table, as_json=as_json)
            finally:
                _tell_how_to_approve(result, what_for, options)

        return Ended(result, tell)

    finish(act, as_json=as_json)


def serve(
    policy: str | None,
    quick: QuickRules,
    root: str,
    *,
    mode: Mode | None,
    dry_run: bool,
    state: str | None,
    approve: str | None,
    as_json: bool,
) -> None:
    """Carry out a policy by its schedule until told to stop. Ends the process."""

    def act() -> Ended:
        from housekeeper_worker import daemon  # noqa: PLC0415 - for this command only

        if policy is None or policy == "-":
            raise policy_file.InvalidFile(["--daemon goes by the schedule of a policy file, so it needs one"])
        if approve is not None:
            raise policy_file.InvalidFile(["--approve is for one run, and --daemon for many"])
        quick_rules.source(policy, quick)
        quick_rules.mode(mode, dry_run=dry_run, quick=quick)
        one_run = [argument for argument in sys.argv[1:] if argument != "--daemon"]
        daemon.run(policy, root, state, [*one_run, "-o", "json"])
        return Ended(report.failure("Succeeded", "ended", mode="", seconds=0))

    finish(act, as_json=as_json)


def plans(root: str, digest: str | None, *, as_json: bool) -> None:
    """Print which plans are stored on a volume, or every item of one. Ends the process."""

    def act() -> Ended:
        from housekeeper_worker.held import listing  # noqa: PLC0415 - for this command only

        listing.show(root, digest, now_ns=time.time_ns(), as_json=as_json)
        return Ended(report.failure("Succeeded", "listed", mode="", seconds=0))

    finish(act, as_json=as_json)


def restore(run: str | None, root: str, *, paths: list[str], dry_run: bool, as_json: bool, audit: str | None) -> None:
    """Put back what a run quarantined; without a run, print what can be put back. Ends the process."""
    from housekeeper_worker import restore as restoring  # noqa: PLC0415 - for this command only

    def act() -> Ended:
        there = restoring.restorable(root) if run in {None, policy_file.RUN_NAME} else []
        if run is None:
            cli_output.print_restorable([restoring.told(one) for one in there], as_json=as_json)
            return Ended(report.failure("Succeeded", "listed", mode="DryRun", seconds=0))
        same = [one.name for one in there if one.run == run]
        if len(same) > 1:
            raise TaskError(f"{run} is every run of the command line; name one quarantine: {', '.join(same)}")
        what = Restore(root=root, run=run, paths=tuple(paths))
        mode: Mode = "DryRun" if dry_run else "Enforce"
        task = Task(policy_file.RUN_NAME, "", "", 1, mode, "Etc/UTC", _RESTORE_SECONDS, restore=what)
        with appended_audit(audit, task.run) as written, stopping_on_signals(task.timeout_seconds) as stop:
            result = restoring.restore(task, what, now_ns=time.time_ns(), stop=stop, audit=written)
        return Ended(result, lambda: _print(result, cli_output.print_restore_table, as_json=as_json))

    finish(act, as_json=as_json)


def simulate(policy: str, items: str, *, now: str | None, until: str | None, every: str, as_json: bool) -> None:
    """Print what a policy would decide about the items of a file, or what would be there from run to run.

    Ends the process.
    """

    def act() -> Ended:
        from housekeeper_worker import simulation  # noqa: PLC0415 - for this command only

        if policy == items == "-":
            raise InvalidItems("standard input can be the policy or the items, not both: write one into a file")
        task, what = _cleanup(policy_file.load(policy_file.Source(policy), "CleanupPolicy", "DryRun").task, "")
        simulated = simulation.Simulation(task, what)
        now_ns = time.time_ns() if now is None else _time("--now", now, simulated.zone)
        try:
            with open(items, encoding="utf-8") if items != "-" else contextlib.nullcontext(sys.stdin) as file:
                found = simulation.read_items(file, simulated.zone)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidItems(f"{items} cannot be read: {error}") from error
        except InvalidItems as error:
            raise InvalidItems(f"{items}: {error}") from None
        for note in simulated.notes:
            say(note)
        if until is not None:
            until_ns = _time("--until", until, simulated.zone)
            if until_ns < now_ns:
                raise InvalidItems(f"--until: {until} is before --now, so there is no run to replay")
            cli_output.print_replay(simulated.replay(found, now_ns, until_ns, _step(every)), as_json=as_json)
            return Ended(report.failure("Succeeded", "replayed", mode="DryRun", seconds=0))
        decided, held = simulated.decide(found, now_ns)
        cli_output.print_simulation([item.path for item in found], decided, what.rules, as_json=as_json)
        if held is not None:
            say(f"a run would be held: {held}")
        return Ended(report.failure("Succeeded", held or "simulated", mode="DryRun", seconds=0))

    # Standard output is a line for each item or run, or one object where something is wrong.
    finish(act, as_json=as_json)


def _time(option: str, text: str, tz: dt.tzinfo) -> int:
    from housekeeper_worker.simulation import read_time  # noqa: PLC0415

    # Eight digits are a date; more are seconds, for which a shell has but words.
    value = int(text) if text.isdecimal() and len(text) > len("20260131") else text
    try:
        return read_time(value, tz)
    except ValueError as error:
        raise InvalidItems(f"{option}: {error}") from None


def _step(text: str) -> Duration:
    try:
        step = Duration.parse(text)
    except ValueError as error:
        raise InvalidItems(f"--every: {error}") from None
    if step.seconds < 60:
        raise InvalidItems(f"--every: {text} is shorter than a minute")
    return step


def check(policy: str, volumes: list[str], *, as_json: bool) -> None:
    """Carry out a HealthCheck; `volumes` are `NAME=DIR`. Ends the process."""

    def act() -> Ended:
        from housekeeper_worker.health import examine  # noqa: PLC0415 - psutil, for this command only

        task, what = _health(policy_file.load(policy_file.Source(policy), "HealthCheck", None), volumes)
        with stopping_on_signals(task.timeout_seconds) as stop:
            result = examine(task, what, stop=stop)
        return Ended(result, lambda: _print(result, cli_output.print_checks_table, as_json=as_json))

    finish(act, as_json=as_json)


def _print(result: Result, table: Callable[[Result], None], *, as_json: bool) -> None:
    if as_json:
        cli_output.print_result_json(result)
    else:
        table(result)


def _tell_how_to_approve(result: Result, what_for: Sequence[str], options: Mapping[str, str | None]) -> None:
    """On standard error the command that carries out a plan that is held, if it can be."""
    if result.outcome == "Held" and result.cleanup is not None and result.cleanup.plan_stored:
        words = [word for option, value in options.items() if value is not None for word in (option, value)]
        command = shlex.join(["housekeeper", "run", *what_for, *words, "--approve", result.cleanup.plan_digest])
        say(f"held; to carry out exactly this plan: {command}")


def _cleanup(task: Task, root: str, capacity: str | None = None) -> tuple[Task, Cleanup]:
    """`capacity`: how large the claim is, for a policy whose pressure is of the claim."""
    if task.cleanup is None:
        raise TaskError("the task has no cleanup")
    pressure = task.cleanup.pressure
    if capacity is not None:
        if pressure is None or pressure.of != "Claim":
            raise TaskError("--capacity: means something for a policy with pressure.of: Claim alone")
        try:
            pressure = dataclasses.replace(pressure, capacity_bytes=int(parse_quantity(capacity)))
        except ValueError as error:
            raise TaskError(f"--capacity: {error}") from None
    return task, dataclasses.replace(task.cleanup, root=root, pressure=pressure)


def _remembering(task: Task, what: Cleanup, state: str | None, report_volume: str | None) -> Cleanup:
    """With the numbers of past runs, and the place for plans."""
    past = None if state is None else past_runs.read(state, past_runs.Subject.of(task, what.root))
    return dataclasses.replace(
        what, state=past, report=None if report_volume is None else os.path.abspath(report_volume)
    )


def _health(loaded: policy_file.Loaded, volumes: list[str]) -> tuple[Task, Health]:
    task = loaded.task
    mounts: dict[str, str] = {}
    for one in volumes:
        name, separator, directory = one.partition("=")
        if not separator or not directory or name not in loaded.volumes:
            known = ", ".join(loaded.volumes) or "none"
            raise TaskError(f"--volume {one}: write NAME=DIR with a volume of the check (there is {known})")
        mounts[name] = directory
    if task.health is None:
        raise TaskError("the task has no health")
    checks = tuple(
        dataclasses.replace(one, mount=mounts.get(one.mount.rpartition("/")[2], one.mount))
        for one in task.health.checks
    )
    return task, dataclasses.replace(task.health, checks=checks)

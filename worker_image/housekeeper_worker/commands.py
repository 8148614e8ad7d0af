"""What the commands of `housekeeper` do.

Exit codes are those of a worker. With JSON standard output is exactly one object, also when something is wrong; logs
go to standard error, and so does the audit of `run` unless a file is named.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable
from typing import Final, Literal

from housekeeper_api.durations import Duration
from housekeeper_api.exit_codes import ExitCode
from housekeeper_api.result import Result
from housekeeper_api.task import Cleanup, Health, Mode, Task, TaskError
from housekeeper_worker import cli_output, past_runs, policy_file, report
from housekeeper_worker.audit import Audit
from housekeeper_worker.cleanup import clean
from housekeeper_worker.errors import AuditLost, CouldNotRun, InvalidItems
from housekeeper_worker.logs import log
from housekeeper_worker.stop import stopping_on_signals

_STDERR: Final = 2


def plan(
    policy: str, root: str, *, as_json: bool, every: bool, state: str | None = None, report_volume: str | None = None
) -> None:
    """Print what a policy would remove; with `every`, in the table, also what stays. Ends the process."""

    def act() -> Result:
        task, what = _cleanup(policy_file.load(policy, "CleanupPolicy", "DryRun").task, root)
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
            )
        if as_json:
            cli_output.print_result_json(result, decisions)
        else:
            cli_output.print_plan_table(result, decisions, every=every)
        return result

    _finish(act, as_json=as_json)


def run(
    policy: str,
    root: str,
    *,
    as_json: bool,
    mode: Mode | None,
    audit: str | None,
    approve: str | None = None,
    state: str | None = None,
    report_volume: str | None = None,
) -> None:
    """Carry out a policy in its own mode, or in `mode`; with `approve` a plan that was held. Ends the process."""

    def act() -> Result:
        task, what = _cleanup(policy_file.load(policy, "CleanupPolicy", mode).task, root)
        what = dataclasses.replace(_remembering(task, what, state, report_volume), approve=approve)
        audit_fd = _STDERR if audit is None else _open_audit(audit)
        now_ns = time.time_ns()
        with stopping_on_signals(task.timeout_seconds) as stop:
            result = clean(task, what, now_ns=now_ns, stop=stop, audit=Audit(audit_fd, task.run))
        if state is not None:
            past_runs.add(state, past_runs.Subject.of(task, root), result, now_ns)
        if as_json:
            cli_output.print_result_json(result)
        else:
            cli_output.print_run_table(result)
        if result.outcome == "Held" and result.cleanup is not None and result.cleanup.plan_stored:
            options = {"--root": root, "--state": state, "--report": report_volume, "--audit": audit}
            if mode is not None:
                options["--mode"] = "Enforce"
            words = [word for option, value in options.items() if value is not None for word in (option, value)]
            command = shlex.join(["housekeeper", "run", policy, *words, "--approve", result.cleanup.plan_digest])
            sys.stderr.write(f"housekeeper: held; to carry out exactly this plan: {command}\n")
        return result

    _finish(act, as_json=as_json)


def plans(root: str, digest: str | None, *, as_json: bool) -> None:
    """Print which plans are stored on a volume, or every item of one. Ends the process."""

    def act() -> Result:
        from housekeeper_worker.held import listing  # noqa: PLC0415 - for this command only

        listing.show(root, digest, now_ns=time.time_ns(), as_json=as_json)
        return report.failure("Succeeded", "listed", mode="", seconds=0)

    _finish(act, as_json=as_json)


def simulate(policy: str, items: str, *, now: str | None, until: str | None, every: str, as_json: bool) -> None:
    """Print what a policy would decide about the items of a file, or what would be there from run to run.

    Ends the process.
    """

    def act() -> Result:
        from housekeeper_worker import simulation  # noqa: PLC0415 - for this command only

        task, what = _cleanup(policy_file.load(policy, "CleanupPolicy", "DryRun").task, "")
        simulated = simulation.Simulation(task, what)
        now_ns = time.time_ns() if now is None else _time("--now", now, simulated.zone)
        try:
            with open(items, encoding="utf-8") if items != "-" else contextlib.nullcontext(sys.stdin) as file:
                found = simulation.read_items(file, simulated.zone)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidItems(f"{items} cannot be read: {error}") from error
        except InvalidItems as error:
            raise InvalidItems(f"{items}: {error}") from None
        if until is not None:
            until_ns = _time("--until", until, simulated.zone)
            cli_output.print_replay(simulated.replay(found, now_ns, until_ns, _step(every)), as_json=as_json)
            return report.failure("Succeeded", "replayed", mode="DryRun", seconds=0)
        decided, held = simulated.decide(found, now_ns)
        cli_output.print_simulation([item.path for item in found], decided, what.rules, as_json=as_json)
        if held is not None:
            sys.stderr.write(f"housekeeper: a run would be held: {held}\n")
        return report.failure("Succeeded", held or "simulated", mode="DryRun", seconds=0)

    # Standard output is lines of items, or empty where something is wrong.
    _finish(act, as_json=False)


def _time(option: str, text: str, tz: dt.tzinfo) -> int:
    from housekeeper_worker.simulation import read_time  # noqa: PLC0415

    try:
        return read_time(text, tz)
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

    def act() -> Result:
        from housekeeper_worker.health import examine  # noqa: PLC0415 - psutil, for this command only

        task, what = _health(policy_file.load(policy, "HealthCheck", None), volumes)
        with stopping_on_signals(task.timeout_seconds) as stop:
            result = examine(task, what, stop=stop)
        if as_json:
            cli_output.print_result_json(result)
        else:
            cli_output.print_checks_table(result.checks or (), result)
        return result

    _finish(act, as_json=as_json)


def _cleanup(task: Task, root: str) -> tuple[Task, Cleanup]:
    if task.cleanup is None:
        raise TaskError("the task has no cleanup")
    return task, dataclasses.replace(task.cleanup, root=root)


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


def _open_audit(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CouldNotRun(f"the audit {path} cannot be opened: {error.strerror}") from error


def _finish(act: Callable[[], Result], *, as_json: bool) -> None:
    """Carry out a command and end with its exit code; what went wrong before is told on both streams."""
    began = time.monotonic()
    problems: list[str] = []
    outcome: Literal["CouldNotRun", "Failed"] = "CouldNotRun"
    try:
        code = report.exit_code(act().outcome)
    except policy_file.InvalidFile as error:
        code, problems = ExitCode.INVALID_TASK, error.problems
    except TaskError as error:
        code, problems = ExitCode.INVALID_TASK, [str(error)]
    except InvalidItems as error:
        code, problems = ExitCode.INVALID_TASK, [str(error)]
    except CouldNotRun as error:
        code, problems = ExitCode.COULD_NOT_RUN, [str(error)]
    except AuditLost as error:
        code, outcome, problems = ExitCode.FAILED, "Failed", [str(error)]
    except BrokenPipeError:
        code = ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - a promised JSON object comes in any case
        code, outcome, problems = ExitCode.FAILED, "Failed", [report.unexpected(error)]
        log("error", problems[0], traceback=traceback.format_exc())
    for problem in problems:
        sys.stderr.write(f"housekeeper: {problem}\n")
    if problems and as_json:
        seconds = time.monotonic() - began
        cli_output.print_result_json(report.failure(outcome, "; ".join(problems), mode="", seconds=seconds))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read (head, less) has seen enough. The interpreter must not try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)

"""A worker in its pod: read the task, carry it out, leave the result where the kubelet finds it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import NoReturn

from housekeeper_api import names
from housekeeper_api.exit_codes import ExitCode
from housekeeper_api.result import Result
from housekeeper_api.task import Task, TaskError
from housekeeper_worker import report
from housekeeper_worker.errors import AuditLost, CouldNotRun
from housekeeper_worker.logs import log
from housekeeper_worker.stop import Stop, stopping_on_signals


def main() -> None:
    """Entry point. Ends the process with one of `housekeeper_api.exit_codes`."""
    result, code = work(os.environ.get("HOUSEKEEPER_TASK_FILE", names.TASK_FILE))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # all that is left is to say what was done
    termination_log = os.environ.get("HOUSEKEEPER_TERMINATION_LOG", names.TERMINATION_LOG)
    try:
        report.deliver(result, termination_log)
    except OSError as error:
        log("error", f"the result could not be written to {termination_log}: {error.strerror}", result=result.to_json())
    _end(code)


def _end(code: int) -> NoReturn:
    """End this process at once: all that is to be kept is written and synced, and to tear an interpreter down object by
    object takes a tenth of a cold start."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads any more
            stream.flush()
    os._exit(code)


def work(task_file: str) -> tuple[Result, ExitCode]:
    """Carry out the task in `task_file`. Raises nothing: whatever happens becomes a result with a message."""
    began = time.monotonic()
    mode = ""
    try:
        task = _read(task_file)
        mode = task.mode
        with stopping_on_signals(task.timeout_seconds) as stop:
            result = perform(task, stop)
        return result, report.exit_code(result.outcome)
    except TaskError as error:
        log("error", str(error))
        result = report.failure("CouldNotRun", str(error), mode=mode, seconds=time.monotonic() - began)
        return result, ExitCode.INVALID_TASK
    except CouldNotRun as error:
        log("error", str(error))
        result = report.failure("CouldNotRun", str(error), mode=mode, seconds=time.monotonic() - began)
        return result, ExitCode.COULD_NOT_RUN
    except AuditLost as error:
        log("error", str(error))
        result = report.failure("Failed", str(error), mode=mode, seconds=time.monotonic() - began)
        return result, ExitCode.FAILED
    except BaseException as error:  # noqa: BLE001 - the result is the last chance to say what happened
        message = report.unexpected(error)
        import traceback  # noqa: PLC0415 - seldom wanted, and a tenth of a cold start

        log("error", message, traceback=traceback.format_exc())
        result = report.failure("Failed", message, mode=mode, seconds=time.monotonic() - began)
        return result, ExitCode.FAILED


def perform(task: Task, stop: Stop) -> Result:
    """Carry out a task that is understood. Raises `TaskError` and `WorkerError`."""
    if task.cleanup is not None:
        from housekeeper_worker.audit.destination import opened_audit  # noqa: PLC0415 - a health check needs none of it
        from housekeeper_worker.cleanup import clean  # noqa: PLC0415

        now_ns = time.time_ns()
        with opened_audit(task, task.cleanup, now_ns) as audit:
            return clean(task, task.cleanup, now_ns=now_ns, stop=stop, audit=audit)
    if task.restore is not None:
        from housekeeper_worker.audit.destination import opened_audit  # noqa: PLC0415 - as above
        from housekeeper_worker.restore import restore  # noqa: PLC0415 - a clean-up needs none of it

        now_ns = time.time_ns()
        with opened_audit(task, task.restore, now_ns) as audit:
            return restore(task, task.restore, now_ns=now_ns, stop=stop, audit=audit)
    if task.health is not None:
        from housekeeper_worker.health import examine  # noqa: PLC0415 - psutil is half of a cold start

        return examine(task, task.health, stop=stop)
    raise TaskError("task: neither cleanup nor health nor restore is set")


def _read(path: str) -> Task:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise TaskError(f"the task {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TaskError(f"the task {path} is not UTF-8: {error.reason}") from error
    return Task.from_json(text)

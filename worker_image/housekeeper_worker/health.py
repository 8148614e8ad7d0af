"""One health check: its checks, one after the other, each carried out or Unknown."""

from __future__ import annotations

import time

from housekeeper_api.result import CheckReport, Result
from housekeeper_api.task import Health, Task
from housekeeper_worker import report
from housekeeper_worker.checks.registry import carry_out
from housekeeper_worker.logs import log
from housekeeper_worker.stop import Stop


def examine(task: Task, what: Health, *, stop: Stop) -> Result:
    """Carry out all checks. A check that the run had no time for is Unknown."""
    began = time.monotonic()
    reports: list[CheckReport] = []
    for check in what.checks:
        if stop.reason is not None:
            why = "time was up before this check" if stop.reason == "TimedOut" else "cancelled before this check"
            reports.append(CheckReport(name=check.name, result="Unknown", message=why))
            continue
        outcome = carry_out(check, stop)
        log("info", outcome.message, check=outcome.name, result=outcome.result, value=outcome.value, unit=outcome.unit)
        reports.append(outcome)
    return report.health_result(
        tuple(reports),
        stop=stop.reason,
        mode=task.mode,
        seconds=time.monotonic() - began,
        timeout=task.timeout_seconds,
    )

"""Which check a type is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from housekeeper_api.result import CheckReport
from housekeeper_api.task import Check, CheckType
from housekeeper_worker.checks.cpu import measure_cpu
from housekeeper_worker.checks.filesystem import measure_filesystem
from housekeeper_worker.checks.measurement import Measurement, Unmeasurable
from housekeeper_worker.checks.memory import measure_memory
from housekeeper_worker.checks.thresholds import MAX_MESSAGE, judge
from housekeeper_worker.stop import Stop

Measure = Callable[[Check, Stop], list[Measurement]]
"""Measures; raises `Unmeasurable` or OSError."""

REGISTRY: Final[dict[CheckType, Measure]] = {
    "Memory": lambda _check, _stop: measure_memory(),
    "CPU": lambda check, stop: measure_cpu(check.sample_seconds, stop),
    "Filesystem": lambda check, _stop: measure_filesystem(check.mount),
}


def carry_out(check: Check, stop: Stop) -> CheckReport:
    """Carry out one check. One that cannot be carried out is Unknown, with the reason; never Failed, never Passed."""
    try:
        return judge(check.name, REGISTRY[check.type](check, stop), check.thresholds)
    except Unmeasurable as error:
        message = str(error)
    except OSError as error:
        message = f"{error.strerror or type(error).__name__}{': ' + str(error.filename) if error.filename else ''}"
    except Exception as error:  # noqa: BLE001 - one check that breaks must not take the others with it
        message = f"{type(error).__name__}: {error}"
    return CheckReport(name=check.name, result="Unknown", message=message[:MAX_MESSAGE])

"""From measured values to one of four results. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from housekeeper_api.quantities import format_bytes
from housekeeper_api.result import CheckReport, CheckResult
from housekeeper_api.task import Threshold
from housekeeper_worker.checks.measurement import Measurement, Unit

MAX_MESSAGE: Final = 128
_OFF: Final = Threshold()
_RANK: Final[dict[CheckResult, int]] = {"Passed": 0, "Warning": 1, "Unknown": 2, "Failed": 3}


def judge(name: str, measurements: Sequence[Measurement], thresholds: Mapping[str, Threshold]) -> CheckReport:
    """The report of a check: its worst value, with the others in the message.

    A value that could not be had is Unknown only if it has a threshold: nobody asked about the others. A failing value
    beside an unknown one is Failed, for that much is certain.
    """
    if not measurements:
        return CheckReport(name=name, result="Unknown", message="nothing was measured")
    judged = [(one, *_judge_one(one, thresholds.get(one.key, _OFF))) for one in measurements]
    worst, result, _ = max(judged, key=lambda entry: (_RANK[entry[1]], entry[0].value is not None))
    message = "; ".join(f"{one.key} {said}" for one, _, said in sorted(judged, key=lambda entry: entry[0] is not worst))
    return CheckReport(
        name=name,
        result=result,
        value="" if worst.value is None else _plain(worst.value, worst.unit),
        unit="" if worst.value is None else worst.unit,
        message=message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…",
    )


def _judge_one(measurement: Measurement, limits: Threshold) -> tuple[CheckResult, str]:
    """Result of one value, and the words for it. Limits trip strictly above or below."""
    value, unit = measurement.value, measurement.unit
    if value is None:
        return ("Passed" if limits == _OFF else "Unknown"), f"unknown: {measurement.note}"
    tail = f" ({measurement.note})" if measurement.note else ""
    said = f"{_shown(value, unit)}{tail}"
    sides: tuple[tuple[CheckResult, float | None, float | None], ...] = (
        ("Failed", limits.fail_above, limits.fail_below),
        ("Warning", limits.warn_above, limits.warn_below),
    )
    for result, above, below in sides:
        if above is not None and value > above:
            return result, f"{_shown(value, unit)} is above {_shown(above, unit)}{tail}"
        if below is not None and value < below:
            return result, f"{_shown(value, unit)} is below {_shown(below, unit)}{tail}"
    return "Passed", said


def _shown(value: float, unit: Unit) -> str:
    if unit == "bytes":
        return format_bytes(value)
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{text} %"


def _plain(value: float, unit: Unit) -> str:
    return f"{value:.0f}" if unit == "bytes" else f"{value:.2f}"

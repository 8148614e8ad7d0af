"""How the reports of one run of a HealthCheck change its status: streaks, the summary, and Healthy.

A check that could not be carried out is Unknown: it neither lengthens nor ends a streak of failures, because nothing
was learned.
"""

from __future__ import annotations

from datetime import datetime

from housekeeper_operator.decisions.views import Object, format_time

NAMES = {"Passed": "passing", "Warning": "warning", "Failed": "failing", "Unknown": "unknown"}


def fold_checks(
    before: list[Object], reports: list[Object] | None, configured: list[str], lost: str, now: datetime
) -> list[Object]:
    """`status.checks` after a run.

    `reports` are the run's (name, result, value, unit, message); None when the run gave none, and then every check is
    Unknown with the message `lost`. `configured` are the names in the specification, in their order: others are
    dropped.
    """
    old = {item["name"]: item for item in before}
    new = {item["name"]: item for item in reports or ()}
    checks = []
    for name in configured:
        previous = old.get(name, {})
        report = new.get(name) or {"name": name, "result": "Unknown", "message": lost[:128]}
        result = report["result"]
        failures = int(previous.get("consecutiveFailures") or 0)
        successes = int(previous.get("consecutiveSuccesses") or 0)
        if result == "Failed":
            failures, successes = failures + 1, 0
        elif result in {"Passed", "Warning"}:
            failures, successes = 0, successes + 1
        item: Object = {
            "name": name,
            "result": result,
            "consecutiveFailures": failures,
            "consecutiveSuccesses": successes,
            "lastTransitionTime": (previous.get("lastTransitionTime") if previous.get("result") == result else None)
            or format_time(now),
            "message": str(report.get("message", ""))[:128],
        }
        for member in ("value", "unit"):
            if report.get(member):
                item[member] = str(report[member])
        checks.append(item)
    return checks


def summary(checks: list[Object]) -> Object:
    """`status.summary`: how many checks are in each result."""
    counts = dict.fromkeys(NAMES.values(), 0)
    for item in checks:
        counts[NAMES[item["result"]]] += 1
    return counts


def healthy(
    checks: list[Object], was: str | None, *, failure_threshold: int, success_threshold: int
) -> tuple[bool | None, str, str]:
    """Status, reason and message of Healthy. `was` is its status before (`True`, `False`, `Unknown`), None at first.

    False from `failureThreshold` failures of one check in a row; True again when no check fails any more and those that
    did have passed `successThreshold` times. In between it stays as it was.
    """
    failing = [item for item in checks if item["result"] == "Failed"]
    tripped = [item for item in failing if item["consecutiveFailures"] >= failure_threshold]
    if tripped:
        return False, "ChecksFailing", _list(tripped)
    if was == "False":
        recovering = [
            item
            for item in checks
            if item["consecutiveSuccesses"] < success_threshold
            # One that never could be carried out is not what failed.
            and (item["result"] != "Unknown" or item["consecutiveFailures"] + item["consecutiveSuccesses"] > 0)
        ]
        if failing or recovering:
            return False, "Recovering", "Not passed often enough since: " + _list(failing or recovering)
    unknown = [item for item in checks if item["result"] == "Unknown"]
    if unknown:
        return None, "ChecksUnknown", _list(unknown)
    if failing:
        status = {"True": True, "Unknown": None}.get(was or "Unknown")
        return status, "FailureThreshold", f"Failing, but fewer than {failure_threshold} times: {_list(failing)}"
    warning = [item for item in checks if item["result"] == "Warning"]
    if warning:
        return True, "ChecksWarning", _list(warning)
    return True, "ChecksPassing", f"All {len(checks)} checks pass."


def _list(checks: list[Object]) -> str:
    return "; ".join(f"{item['name']}: {item.get('message') or item['result']}" for item in checks[:5]) + (
        f"; and {len(checks) - 5} more" if len(checks) > 5 else ""
    )

"""Files that are made from other files of the project, but for those that housekeeper_api makes itself."""

from __future__ import annotations

import os

from housekeeper_operator.telemetry.metrics import Metrics
from workshop import chart
from workshop.project import ROOT, read

VALUES_REFERENCE = "docs/reference/values.md"
METRICS_REFERENCE = "docs/reference/metrics.md"


def derived() -> dict[str, str]:
    """Every such file: path and content."""
    return {
        **chart.crd_copies(),
        VALUES_REFERENCE: chart.values_reference(),
        METRICS_REFERENCE: metrics_reference(),
    }


def metrics_reference() -> str:
    """The table of all metrics, in Markdown."""
    lines = [
        "# Metrics of the operator",
        "",
        "Served at `/metrics` on port 8080. Generated from the code by `make generate`.",
        "",
        *Metrics().reference(),
    ]
    return "\n".join(lines) + "\n"


def write() -> None:
    """Write all of them, and remove copies whose source is gone."""
    files = derived()
    for path in _orphans(files):
        os.unlink(os.path.join(ROOT, path))
    for path, text in files.items():
        os.makedirs(os.path.join(ROOT, os.path.dirname(path)), exist_ok=True)
        with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
            file.write(text)


def out_of_date() -> list[str]:
    """What is not as it would be written now. `make generate` mends it."""
    files = derived()
    stale = [path for path, text in files.items() if not os.path.exists(os.path.join(ROOT, path)) or read(path) != text]
    return [f"{path} is out of date" for path in stale] + [f"{path} has no source" for path in _orphans(files)]


def _orphans(files: dict[str, str]) -> list[str]:
    directory = os.path.join(ROOT, chart.CRD_COPIES)
    names = os.listdir(directory) if os.path.isdir(directory) else []
    return [f"{chart.CRD_COPIES}/{name}" for name in names if f"{chart.CRD_COPIES}/{name}" not in files]

"""`make bench`: measure every row of the performance table, and print it.

As root, trees stand on ext4 in a file that is mounted as a loop device, and caches are dropped for what is to be cold;
otherwise they stand in `--directory`, and the rows that need cold caches are left out. Nothing else should run on the
machine meanwhile: the table says how busy it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests import leftovers
from tests.benchmarks.measure import Measured
from tests.benchmarks.rows import Bench, Outcome, table, told
from tests.benchmarks.trees import Ground, Image

NEEDS_COLD = frozenset({"scan-cold", "scan-cold-1cpu"})
SIZES = (10_000, 100_000, 1_000_000)


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    sizes = (*SIZES, 5_000_000) if options.huge else SIZES
    rows = table(sizes)
    wanted = options.only or list(rows)
    if unknown := sorted(set(wanted) - set(rows)):
        sys.exit(f"no such row: {', '.join(unknown)}; there is {', '.join(rows)}")
    is_root = os.geteuid() == 0
    leftovers.remove(*leftovers.PLACES, Path(options.directory or tempfile.gettempdir()))
    work = Path(tempfile.mkdtemp(prefix=leftovers.prefix("bench"), dir=options.directory))
    found: list[Outcome] = []
    try:
        ground = Image(work) if is_root else Ground(work)
        bench = Bench(work, ground, options.runs, options.scale, cold=is_root)
        for name in wanted:
            if name in NEEDS_COLD and not is_root:
                sys.stderr.write(f"{name} left out: only root can drop caches\n")
                continue
            with told(name):
                found += rows[name](bench)
    except subprocess.CalledProcessError as error:
        sys.exit(f"\n{error}\n{(error.stderr or b'').decode(errors='replace')}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
        # Also after a row that failed: the others took many minutes.
        sys.stdout.write("\n".join(_lines(found)) + "\n")
        if options.json is not None:
            options.json.write_text(json.dumps(_record(options, found), indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="ROW", help="these rows alone")
    parser.add_argument("--runs", type=int, default=5, help="runs of which the median counts (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the trees: 0.1 is a tenth")
    parser.add_argument("--directory", type=Path, default=None, help="where trees and images are made")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write every measurement there")
    parser.add_argument("--huge", action="store_true", help="growth up to five million files")
    return parser.parse_args()


def _lines(found: Sequence[Outcome]) -> list[str]:
    """The table as text."""
    head = ("row", "measured", "must", "moonshot", "", "ours", "find", "")
    rows = [head, *map(_cells, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    busy = os.getloadavg()[0]
    cpus = len(os.sched_getaffinity(0))
    return [*lines, "", f"{cpus} CPUs, load {busy:.1f}, Linux {platform.release()}, Python {platform.python_version()}"]


def _cells(one: Outcome) -> tuple[str, ...]:
    verdict = must = moonshot = ""
    if one.target is not None:
        verdict = "moonshot" if one.value <= one.target.moonshot else "ok" if one.value <= one.target.must else "MISSED"
        must, moonshot = f"{one.target.must:g}", f"{one.target.moonshot:g}"
    return (
        one.row,
        f"{one.value:.2f} {one.unit}",
        must,
        moonshot,
        verdict,
        *(_times(side) for side in (one.ours, one.rival)),
        one.note,
    )


def _times(side: Sequence[Measured]) -> str:
    if not side:
        return ""
    seconds, processor = (_middle([getattr(one, name) for one in side]) for name in ("seconds", "processor_seconds"))
    return f"{seconds:.2f} s ({processor:.2f} s CPU)"


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _record(options: argparse.Namespace, found: Sequence[Outcome]) -> dict[str, object]:
    return {
        "runs": options.runs,
        "scale": options.scale,
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "rows": [asdict(one) for one in found],
    }


if __name__ == "__main__":
    main()

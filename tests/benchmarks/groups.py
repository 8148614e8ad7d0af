"""How long GFS takes over many items once they are scanned, and how much memory an item takes.

`python -m tests.benchmarks.groups COUNT` prints two numbers: seconds, and bytes an item at the most.
"""

from __future__ import annotations

import datetime as dt
import random
import sys
import time
import tracemalloc
from array import array

from housekeeper_api.task import Keep, Rule
from housekeeper_worker.conclusion import conclude
from housekeeper_worker.retention.candidates import Candidates
from housekeeper_worker.retention.decide import ALWAYS, Lines, Verdict
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.retention.records import Records
from housekeeper_worker.scratch import Scratch
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally

_SECOND = 1_000_000_000
_DIRECTORY = 1_000
_SPAN = 10 * 365 * 86_400


def gather(count: int) -> Candidates:
    """Items as a scan leaves them: spread over ten years, in directories of a thousand."""
    keep = Keep(last=10, hourly=24, daily=7, weekly=4, monthly=12, yearly=3, within="14d")
    rule = Rule("dumps", ("**",), (), None, keep=keep)
    candidates = Candidates(0, rule, Lines(ALWAYS, ALWAYS), dt.UTC, "0s")
    chance = random.Random(1)
    for first in range(0, count, _DIRECTORY):
        size = min(_DIRECTORY, count - first)
        records = Records()
        times = array("q", [chance.randrange(_SPAN) * _SECOND + chance.randrange(_SECOND) for _ in range(size)])
        ones = [1] * size
        records.extend(
            [b"backup-%09d.dump" % number for number in range(first, first + size)],
            inode=range(first, first + size),
            size=ones,
            allocated=ones,
            modified=times,
            changed=times,
            links=ones,
        )
        candidates.add(b"d%06d" % first, records, times=times, verdicts=[Verdict.REMOVE] * size, groups=None)
    return candidates


def decide(candidates: Candidates) -> float:
    """Seconds that all decisions take."""
    plan = Plan(Scratch())
    began = time.perf_counter()
    conclude(candidates, plan, Tally(), Stop(), None)
    return time.perf_counter() - began


def main() -> None:
    """Print seconds, and bytes an item."""
    count = int(sys.argv[1])
    seconds = decide(gather(count))
    # Apart, for looking after memory takes several times as long.
    tracemalloc.start()
    decide(gather(count))
    _, peak = tracemalloc.get_traced_memory()
    sys.stdout.write(f"{seconds:.4f} {peak / count:.1f}\n")


if __name__ == "__main__":
    main()

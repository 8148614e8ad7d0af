"""Used processor time over a short sample: of the control group's quota where there is one, else of the host."""

from __future__ import annotations

import os
import time

import psutil

from housekeeper_worker.checks.cgroup import Cgroup
from housekeeper_worker.checks.measurement import Measurement, Unmeasurable
from housekeeper_worker.stop import Stop


def measure_cpu(sample_seconds: float, stop: Stop) -> list[Measurement]:
    """`used` in percent over `sample_seconds`. Raises `Unmeasurable` if the run had to end before."""
    cgroup = Cgroup()
    cores = os.cpu_count() or 1
    before = cgroup.cpu()
    began = time.monotonic()
    psutil.cpu_percent(interval=None)  # the first call only sets the mark that the second counts from
    if not stop.wait(sample_seconds):
        raise Unmeasurable("the run had to end before the sample was complete")
    host = psutil.cpu_percent(interval=None)
    after = cgroup.cpu()
    if before is None or after is None or after.cores >= cores:
        return [Measurement("used", host, "percent", f"{cores} cores, the node")]
    used = (after.used_seconds - before.used_seconds) / (time.monotonic() - began) / after.cores
    return [Measurement("used", 100 * max(used, 0.0), "percent", f"{after.cores:g} cores, the limit")]

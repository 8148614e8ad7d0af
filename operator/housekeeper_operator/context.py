"""What every reconciler is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from housekeeper_operator.cluster.events import Recorder
from housekeeper_operator.cluster.port import Cluster
from housekeeper_operator.cluster.store import Store
from housekeeper_operator.settings import Settings
from housekeeper_operator.telemetry.metrics import Metrics
from housekeeper_operator.workqueue import WorkQueue


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one running operator. `now` returns aware UTC times; nobody asks the system clock directly."""

    cluster: Cluster
    store: Store
    recorder: Recorder
    queue: WorkQueue
    settings: Settings
    metrics: Metrics
    now: Callable[[], datetime]

"""An operator process that does nothing but write down what it would look at, and ten times a second that it works.

`python -m tests.integration.runtime.journal_operator JOURNAL`, with the operator's environment variables. A line is
`TIME POD WHAT`, TIME being CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from housekeeper_operator import logs, main
from housekeeper_operator.cluster.kinds import CLEANUP_POLICY
from housekeeper_operator.context import Context
from housekeeper_operator.settings import Settings
from housekeeper_operator.workqueue import Key, Reconcile

HEARTBEAT = Key("Queue", "", "")
SLOW = "slow"
"""A policy of this name takes two seconds to reconcile."""


def keys_for(kind: str, obj: dict[str, Any]) -> list[Key]:
    metadata = obj["metadata"]
    return [Key(kind, metadata["namespace"], metadata["name"])] if kind == CLEANUP_POLICY else []


def run(journal: int) -> int:
    settings = Settings.from_environment(os.environ)
    logs.configure(settings.log_level)

    def write(what: str) -> None:
        os.write(journal, f"{time.monotonic():.3f} {settings.pod_name} {what}\n".encode())

    def build(context: Context) -> Mapping[str, Reconcile]:
        async def look(key: Key) -> None:
            policy = context.store.get(key.kind, key.namespace, key.name)
            write(f"{key.name} {'gone' if policy is None else policy['spec']['schedule'].replace(' ', '_')}")
            if key.name == SLOW:
                await asyncio.sleep(2)
                write(f"{key.name} finished")

        async def beat(_key: Key) -> datetime:
            write("works")
            return context.now() + timedelta(seconds=0.1)

        context.queue.add(HEARTBEAT)
        return {CLEANUP_POLICY: look, HEARTBEAT.kind: beat}

    return asyncio.run(main.run(settings, build, keys_for))


if __name__ == "__main__":
    sys.exit(run(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)))

"""Containers' processes as the host sees them: what no API can kill or stop."""

from __future__ import annotations

import os
from typing import Any


def worker_pids(pod: dict[str, Any]) -> list[int]:
    """Pids of the worker in `pod`."""
    return container_pids(pod, "worker")


def container_pids(pod: dict[str, Any], container: str) -> list[int]:
    """Pids of the processes in one container of `pod`, in order. The pause process is not among them."""
    status = next(s for s in pod["status"]["containerStatuses"] if s["name"] == container)
    container_id = status["containerID"].rpartition("//")[2]
    pids = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cgroup", encoding="utf-8") as file:
                    if container_id in file.read():
                        pids.append(int(entry))
            except OSError:
                continue
    assert pids, f"no process of container {container_id} on this host"
    return sorted(pids)

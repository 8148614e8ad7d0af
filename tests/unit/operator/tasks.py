"""Tasks as a started Job carries them."""

from __future__ import annotations

from typing import Any

from housekeeper_api.task import Brakes, Cleanup, Rule, Task


def task(**changes: Any) -> str:
    """A task as JSON."""
    members: dict[str, Any] = {
        "run": "run-1",
        "namespace": "team",
        "policy": "backups",
        "attempt": 1,
        "mode": "Enforce",
        "time_zone": "Etc/UTC",
        "timeout_seconds": 3600.0,
        "cleanup": Cleanup(
            root="/volumes/target",
            path="",
            rules=(Rule(name="dumps", include=("**/*.dump",), exclude=(), remove_older_than="30d"),),
            settle_seconds=600.0,
            open_files="Protect",
            brakes=Brakes(max_percent=50),
            fs_group=None,
        ),
    }
    return Task(**members | changes).to_json()

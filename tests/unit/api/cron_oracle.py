"""The CronJob controller's own cron parser, asked when a schedule fires."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

COMMAND = Path(__file__).parents[2] / "cluster" / "cluster"


@dataclasses.dataclass(frozen=True)
class Question:
    """The `count` slots of a schedule after a moment."""

    schedule: str
    zone: str
    after: datetime
    count: int = 6


class CronOracle:
    """The program that `tests/cluster` makes of the parser, kept running; built first where that was never done."""

    def __enter__(self) -> Self:
        built = subprocess.run([COMMAND, "tools", "cron-oracle"], stdout=subprocess.PIPE, text=True, check=True)
        self._process = subprocess.Popen(
            [built.stdout.strip()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def slots(self, question: Question) -> list[datetime]:
        """What the controller would do. Fails where the parser refuses the schedule or the zone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {
            "schedule": question.schedule,
            "timeZone": question.zone,
            "from": question.after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "count": question.count,
        }
        self._process.stdin.write(json.dumps(asked) + "\n")
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, (question, answer)
        return [datetime.fromisoformat(time) for time in answer.get("times", ())]

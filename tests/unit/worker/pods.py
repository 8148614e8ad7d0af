"""Workers as a pod runs them: a process with a task file and a termination log."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from housekeeper_api.result import Result
from housekeeper_api.task import Task
from tests.unit.worker.confinement import command

REPOSITORY = Path(__file__).parents[3]


class Worker:
    """A worker process whose audit nobody reads unless `lines` is called: a full pipe holds it where it is.

    One that is not root is confined as in a pod, and must be able to reach `directory`.
    """

    def __init__(self, directory: Path, task: Task | str, *, uid: int = 0) -> None:
        self.termination_log = directory / "termination-log"
        self._task_file = directory / "task.json"
        self._task_file.write_text(task if isinstance(task, str) else task.to_json())
        self.termination_log.write_text("")
        os.chown(self.termination_log, uid, uid)
        self.process = subprocess.Popen(
            command(uid),
            cwd=REPOSITORY,
            env={
                "PATH": os.environ["PATH"],
                "HOUSEKEEPER_TASK_FILE": str(self._task_file),
                "HOUSEKEEPER_TERMINATION_LOG": str(self.termination_log),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # a buffer here would take lines that communicate then never sees
        )

    def next_line(self) -> dict[str, Any]:
        """The next line of the audit that is no link of its chain."""
        assert self.process.stdout is not None
        while True:
            line: dict[str, Any] = json.loads(self.process.stdout.readline())
            if line["event"] != "chain":
                return line

    def end(self) -> tuple[int, Result, list[dict[str, Any]]]:
        """Exit code, result and the rest of the audit, without its chain."""
        out, _ = self.process.communicate(timeout=60)
        lines = [told for line in out.splitlines() if (told := json.loads(line))["event"] != "chain"]
        return self.process.returncode, self.result(), lines

    def result(self) -> Result:
        """What it left in its termination log."""
        return Result.from_json(self.termination_log.read_text())

    def end_unheard(self) -> int:
        """Close the audit's pipe. Exit code of what the worker makes of that."""
        with self.process:
            assert self.process.stdout is not None
            self.process.stdout.close()
            assert self.process.stderr is not None
            self.process.stderr.read()
        return self.process.returncode

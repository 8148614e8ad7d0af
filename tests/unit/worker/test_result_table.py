"""What the table of a result says besides its counters."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from housekeeper_api.result import Result, as_dict
from housekeeper_api.task import Mode, OpenFiles
from housekeeper_worker import cli_output
from tests.unit.worker.builders import OLD, as_user, carry_out, cleanup_task, write
from tests.unit.worker.confinement import UID


def others_files(volume: Path, open_files: OpenFiles, mode: Mode) -> Result:
    """What a run tells of two files of another user, whose openers the kernel does not tell."""
    for name in ("d/a", "d/b"):
        write(volume / name, days=OLD)
    os.chown(volume / "d", UID, UID)
    task = cleanup_task(volume, open_files=open_files, mode=mode)
    return Result.from_json(json.dumps(as_user(UID, lambda: as_dict(carry_out(task)))))


@pytest.mark.parametrize("mode", ["DryRun", "Enforce"])
@pytest.mark.parametrize(
    ("open_files", "told"),
    [("Protect", "unknown 2 (settleTime decided)"), ("Strict", "unknown 2 (Strict: they stay)"), ("Ignore", None)],
)
def test_what_is_not_known_of_open_files_is_said(
    open_volume: Path, capsys: pytest.CaptureFixture[str], open_files: OpenFiles, mode: Mode, told: str | None
) -> None:
    result = others_files(open_volume, open_files, mode)
    cli_output.print_run_table(result)
    of_run = capsys.readouterr().out
    cli_output.print_plan_table(result, cli_output.Decisions(()), every=False)
    of_plan = capsys.readouterr().out
    for table in (of_run, of_plan):
        lines = [line for line in table.splitlines() if line.startswith("open files")]
        assert [line.removeprefix("open files").strip(": ") for line in lines] == ([] if told is None else [told])

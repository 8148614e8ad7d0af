"""A worker as a process: its task, its audit, its result, its exit code, and its end before the time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from housekeeper_api.result import MAX_BYTES, Result
from tests.unit.worker.builders import OLD, cleanup_task, files_below, rule, write
from tests.unit.worker.pods import Worker

MANY = 6000
"""Files whose audit does not fit into a pipe, so that a worker whose audit nobody reads stands still in mid-run."""


@pytest.fixture
def big(volume: Path) -> Path:
    """Many old files and a few young ones."""
    for number in range(MANY):
        write(volume / f"d{number % 7}/old-{number}", days=OLD)
    for number in range(10):
        write(volume / f"d{number % 7}/young-{number}")
    return volume


def until_first_removal(worker: Worker) -> list[dict[str, Any]]:
    """Lines of the audit up to the first file that is gone."""
    lines = [worker.next_line()]
    while lines[-1]["event"] != "removed":
        lines.append(worker.next_line())
    return lines


def test_the_audit_tells_every_removal_with_its_reason(volume: Path, tmp_path: Path) -> None:
    write(volume / "old", days=OLD)
    write(os.fsencode(volume) + b"/\xff", days=OLD)
    write(volume / "young")
    code, result, lines = Worker(tmp_path, cleanup_task(volume)).end()
    assert (code, result.outcome) == (0, "Succeeded")
    assert [line["event"] for line in lines] == ["start", "intent", "removed", "removed", "summary"]
    removed = {line.get("path", line.get("pathBase64")): line for line in lines if line["event"] == "removed"}
    assert set(removed) == {"old", "/w=="}
    assert removed["old"]["rule"] == "old"
    assert removed["old"]["reason"] == "older than 30d"
    assert lines[-1]["result"]["cleanup"]["removed"] == 2


def test_the_audit_of_a_dry_run_says_would(volume: Path, tmp_path: Path) -> None:
    write(volume / "old", days=OLD)
    code, result, lines = Worker(tmp_path, cleanup_task(volume, mode="DryRun")).end()
    assert (code, result.mode) == (0, "DryRun")
    assert [line["event"] for line in lines] == ["start", "wouldRemove", "summary"]
    assert "would remove 1 of 1" in result.message


def test_a_skipped_file_is_in_the_audit(open_volume: Path, tmp_path: Path) -> None:
    write(open_volume / "held", days=OLD)
    subprocess.run(["chattr", "+i", open_volume / "held"], check=True)
    code, _, lines = Worker(tmp_path, cleanup_task(open_volume, rule())).end()
    assert code == 3
    assert [line["skipped"] for line in lines if line["event"] == "skipped"] == ["immutable"]


@pytest.mark.parametrize(
    ("number", "outcome", "word"),
    [
        (signal.SIGTERM, "Cancelled", "cancelled: removed"),
        (signal.SIGINT, "Cancelled", "cancelled: removed"),
        (signal.SIGALRM, "TimedOut", "time was up after 60 s: removed"),
    ],
)
def test_a_signal_in_mid_run_ends_it_with_true_numbers(
    big: Path, tmp_path: Path, number: int, outcome: str, word: str
) -> None:
    worker = Worker(tmp_path, cleanup_task(big))
    lines = until_first_removal(worker)
    worker.process.send_signal(number)
    code, result, rest = worker.end()
    assert (code, result.outcome) == (1, outcome)
    assert result.message.startswith(word)
    assert result.cleanup is not None
    gone = MANY + 10 - len(files_below(big))
    assert 0 < gone < MANY
    assert result.cleanup.removed == gone == sum(line["event"] == "removed" for line in lines + rest)


def test_told_to_stop_at_any_moment_of_its_start_a_worker_reports_or_ends(big: Path, tmp_path: Path) -> None:
    """Every three milliseconds of the first 200: never is the signal lost, and the run goes on."""
    reported = 0
    for moment in range(0, 200, 3):
        worker = Worker(tmp_path, cleanup_task(big, mode="DryRun"))
        time.sleep(moment / 1000)
        worker.process.terminate()
        out, _ = worker.process.communicate(timeout=60)
        if worker.process.returncode == 1:
            assert worker.result().outcome == "Cancelled"
            reported += 1
        else:
            assert worker.process.returncode == -signal.SIGTERM
            assert (out, worker.termination_log.read_text()) == (b"", "")
    assert reported


def test_process_one_keeps_a_signal_that_comes_while_it_imports(big: Path, tmp_path: Path) -> None:
    """In a pid namespace of its own the kernel drops what has no handler yet, but for what is blocked."""
    script = (
        "import os, signal, sys; from housekeeper_worker import entry\n"
        "class Sender:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'housekeeper_worker.report':\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "assert os.getpid() == 1\n"
        "sys.meta_path.insert(0, Sender())\n"
        "entry.main()\n"
    )
    task, log = tmp_path / "task.json", tmp_path / "log"
    task.write_text(cleanup_task(big).to_json())
    log.touch()
    done = subprocess.run(
        ["unshare", "--pid", "--fork", sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], "HOUSEKEEPER_TASK_FILE": str(task), "HOUSEKEEPER_TERMINATION_LOG": str(log)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert Result.from_json(log.read_text()).outcome == "Cancelled"
    assert len(files_below(big)) == MANY + 10


def test_a_run_that_takes_longer_than_its_timeout_ends(big: Path, tmp_path: Path) -> None:
    code, result, _ = Worker(tmp_path, cleanup_task(big, timeout=0.001)).end()
    assert (code, result.outcome) == (1, "TimedOut")
    assert "raise spec.timeout" in result.message


def test_killed_in_mid_run_the_audit_brackets_what_went_and_the_next_run_finishes(big: Path, tmp_path: Path) -> None:
    before = files_below(big)
    worker = Worker(tmp_path, cleanup_task(big))
    lines = until_first_removal(worker)
    worker.process.kill()
    out, _ = worker.process.communicate()
    *whole, _torn = out.split(b"\n")
    lines += [json.loads(line) for line in whole]
    gone = before - files_below(big)
    told = {line["path"].encode() for line in lines if line["event"] == "removed"}
    intents = [line for line in lines if line["event"] == "intent"]
    assert told <= gone
    assert len(gone) <= sum(intent["count"] for intent in intents) + intents[-1]["count"]
    assert all(b"old-" in path for path in gone)
    code, result, _ = Worker(tmp_path, cleanup_task(big)).end()
    assert (code, result.outcome) == (0, "Succeeded")
    assert all(b"young-" in path for path in files_below(big))


def test_a_run_whose_audit_nobody_takes_stops_and_says_so(big: Path, tmp_path: Path) -> None:
    worker = Worker(tmp_path, cleanup_task(big))
    until_first_removal(worker)
    code, result = worker.end_unheard(), worker.result()
    assert (code, result.outcome) == (1, "Failed")
    assert result.message.startswith("the audit could not be written: Broken pipe; ")
    assert result.cleanup is not None
    assert result.cleanup.audit is not None
    assert not result.cleanup.audit.complete
    # The batch in flight is announced, and no more than that is without a line.
    assert 0 < result.cleanup.audit.unrecorded <= 500
    assert f"; removed {result.cleanup.removed} of" in result.message
    assert result.cleanup is not None
    assert result.cleanup.removed == MANY + 10 - len(files_below(big)) < MANY


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("not json", "the task is not JSON"),
        ("[]", "not a JSON object"),
        ('{"schemaVersion": 99}', "operator and worker image are of different releases"),
        ('{"schemaVersion": 1}', "missing"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(tmp_path: Path, task: str, sentence: str) -> None:
    code, result, _ = Worker(tmp_path, task).end()
    assert (code, result.outcome) == (64, "CouldNotRun")
    assert sentence in result.message


def test_a_glob_that_makes_no_sense_is_refused(volume: Path, tmp_path: Path) -> None:
    code, result, _ = Worker(tmp_path, cleanup_task(volume, rule(include=["/abs"]))).end()
    assert code == 64
    assert "spec.rules[0].select.include[0]" in result.message


def test_a_volume_that_is_not_there_could_not_run(tmp_path: Path) -> None:
    code, result, _ = Worker(tmp_path, cleanup_task(tmp_path / "nothing")).end()
    assert (code, result.outcome) == (2, "CouldNotRun")
    assert "does not exist" in result.message


def test_a_held_plan_exits_with_four(volume: Path, tmp_path: Path) -> None:
    write(volume / "old", days=OLD)
    code, result, lines = Worker(tmp_path, cleanup_task(volume, max_percent=50)).end()
    assert (code, result.outcome) == (4, "Held")
    assert [line["event"] for line in lines] == ["start", "held", "summary"]


def test_the_result_fits_into_a_termination_message_and_the_log_has_all_of_it(volume: Path, tmp_path: Path) -> None:
    for number in range(40):
        write(volume / f"{'directory-' * 20}/{number}-{'n' * 200}", days=OLD)
    worker = Worker(tmp_path, cleanup_task(volume))
    _, result, lines = worker.end()
    assert result.truncated
    assert len(worker.termination_log.read_bytes()) <= MAX_BYTES
    assert len(lines[-1]["result"]["cleanup"]["sample"]) == 10


def test_what_a_pod_imports_for_a_cleanup_is_small(volume: Path, tmp_path: Path) -> None:
    task = tmp_path / "task.json"
    task.write_text(cleanup_task(volume, rule(include=["**/*.dump"])).to_json())
    script = (
        "import sys; from housekeeper_worker.main import work; result, code = work(sys.argv[1]); "
        "sys.stderr.write(' '.join(sorted({name.partition('.')[0] for name in sys.modules}))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, task], capture_output=True, text=True, check=True)
    imported = set(done.stderr.splitlines()[-1].split())
    heavy = {"pydantic", "yaml", "psutil", "rich", "typer", "kubernetes", "kopf", "asyncio", "logging", "subprocess"}
    assert imported & heavy == set()
    assert {"housekeeper_worker", "housekeeper_api"} <= imported

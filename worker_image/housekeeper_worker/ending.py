"""How a command of `housekeeper` ends: its exit code, and what went wrong before, on both streams."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Literal, NoReturn

from housekeeper_api.exit_codes import ExitCode
from housekeeper_api.result import Result
from housekeeper_api.task import TaskError
from housekeeper_worker import cli_output, policy_file, report
from housekeeper_worker.errors import AuditLost, CouldNotRun, InvalidItems
from housekeeper_worker.logs import log


def refuse(problem: str, *, as_json: bool) -> NoReturn:
    """End because the command line makes no sense, which is told on both streams."""

    def act() -> Result:
        raise TaskError(problem)

    finish(act, as_json=as_json)


def finish(act: Callable[[], Result], *, as_json: bool) -> NoReturn:
    """Carry out a command and end with its exit code; what went wrong before is told on both streams."""
    began = time.monotonic()
    problems: list[str] = []
    outcome: Literal["CouldNotRun", "Failed"] = "CouldNotRun"
    try:
        code = report.exit_code(act().outcome)
    except policy_file.InvalidFile as error:
        code, problems = ExitCode.INVALID_TASK, error.problems
    except TaskError as error:
        code, problems = ExitCode.INVALID_TASK, [str(error)]
    except InvalidItems as error:
        code, problems = ExitCode.INVALID_TASK, [str(error)]
    except CouldNotRun as error:
        code, problems = ExitCode.COULD_NOT_RUN, [str(error)]
    except AuditLost as error:
        code, outcome, problems = ExitCode.FAILED, "Failed", [str(error)]
    except BrokenPipeError:
        code = ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - a promised JSON object comes in any case
        code, outcome, problems = ExitCode.FAILED, "Failed", [report.unexpected(error)]
        log("error", problems[0], traceback=traceback.format_exc())
    for problem in problems:
        sys.stderr.write(f"housekeeper: {problem}\n")
    if problems and as_json:
        seconds = time.monotonic() - began
        cli_output.print_result_json(report.failure(outcome, "; ".join(problems), mode="", seconds=seconds))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read (head, less) has seen enough. The interpreter must not try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)

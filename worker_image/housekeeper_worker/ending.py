"""How a command of `housekeeper` ends: its exit code, and what went wrong before, on both streams."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from collections.abc import Callable
from typing import Literal, NamedTuple, NoReturn

from housekeeper_api.exit_codes import ExitCode
from housekeeper_api.result import Result
from housekeeper_api.task import TaskError
from housekeeper_worker import cli_output, policy_file, report, standard_streams
from housekeeper_worker.errors import AuditLost, CouldNotRun, InvalidItems, OutputLost
from housekeeper_worker.logs import log


class Ended(NamedTuple):
    """All that was to be done is done."""

    result: Result
    tell: Callable[[], None] | None = None
    """Prints the result; None where what was asked for is printed already."""


def refuse(problem: str, *, as_json: bool) -> NoReturn:
    """End because the command line makes no sense, which is told on both streams."""

    def act() -> Ended:
        raise TaskError(problem)

    finish(act, as_json=as_json)


def finish(act: Callable[[], Ended], *, as_json: bool) -> NoReturn:
    """Carry out a command and end with its exit code; what went wrong before is told on both streams.

    A standard output that cannot be written ends it with 1 and one line that says how the run had ended.
    """
    began = time.monotonic()
    problems: list[str] = []
    outcome: Literal["CouldNotRun", "Failed"] = "CouldNotRun"
    ended: Ended | None = None
    try:
        ended = act()
        code = report.exit_code(ended.result.outcome)
        if ended.tell is not None:
            ended.tell()
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
    except OutputLost as error:
        _without_output(error, ended)
        code = ExitCode.FAILED
    except BrokenPipeError:
        code = ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - a promised JSON object comes in any case
        code, outcome, problems = ExitCode.FAILED, "Failed", [report.unexpected(error)]
        log("error", problems[0], traceback=traceback.format_exc())
    for problem in problems:
        say(problem)
    try:
        if problems and as_json:
            seconds = time.monotonic() - began
            cli_output.print_result_json(report.failure(outcome, "; ".join(problems), mode="", seconds=seconds))
        sys.stdout.flush()
    except OutputLost as error:
        _without_output(error, ended)
        code = code if error.nobody_reads else ExitCode.FAILED
    sys.exit(code)


def end_without_output(error: OutputLost) -> NoReturn:
    """End because not even help could be printed."""
    _without_output(error, None)
    sys.exit(ExitCode.FAILED)


def _without_output(error: OutputLost, ended: Ended | None) -> None:
    standard_streams.give_up_output()
    if error.nobody_reads:
        return
    known = ended is not None and ended.tell is not None
    say(f"{error}; the run ended as {ended.result.outcome}: {ended.result.message}" if known and ended else str(error))


def say(problem: str) -> None:
    """One line on standard error."""
    with contextlib.suppress(OSError):  # nobody is there to be told that nobody can be told
        sys.stderr.write(f"housekeeper: {problem}\n")
        sys.stderr.flush()

"""`housekeeper`: the same engine and the same policy files without a cluster.

Only the shape of the command line is here. What the commands do (`commands`) is imported when one is called, so that
`--help` does not wait for it.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

from housekeeper_api.exit_codes import ExitCode
from housekeeper_api.task import Mode

try:
    import typer
    from typer.exceptions import TyperException
except ModuleNotFoundError:
    sys.stderr.write("housekeeper: the command line is not installed; install housekeeper[cli]\n")
    sys.exit(ExitCode.COULD_NOT_RUN)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Plan and run clean-up policies and health checks on this machine, without a cluster.",
    epilog="Exit codes: 0 succeeded, 1 failed, 2 could not run, 3 partly, 4 held by a brake, 64 invalid input.",
)


class Output(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


class RunMode(StrEnum):
    """How dry a run is."""

    DRY_RUN = "DryRun"
    ENFORCE = "Enforce"


_Policy = Annotated[str, typer.Argument(metavar="POLICY.yaml", help="A CleanupPolicy; - is standard input.")]
_Root = Annotated[str, typer.Option("--root", metavar="DIR", help="The volume: nothing outside of it is touched.")]
_State = Annotated[
    str | None,
    typer.Option("--state", metavar="FILE", help="Numbers of past runs for the brakes; run adds its own."),
]
_Report = Annotated[
    str | None,
    typer.Option("--report", metavar="DIR", help="Store plans here, not on the volume; a dry run's too."),
]
_Output = Annotated[Output, typer.Option("-o", "--output", help="A table, or exactly one JSON object.")]


@app.command()
def plan(
    policy: _Policy,
    root: _Root,
    output: _Output = Output.TABLE,
    every: Annotated[bool, typer.Option("--all", help="In the table, also what stays.")] = False,
    state: _State = None,
    report: _Report = None,
) -> None:
    """Show what a policy would remove, and why. Nothing on the volume is changed, whatever the policy's mode is."""
    from housekeeper_worker import commands  # noqa: PLC0415

    commands.plan(policy, root, as_json=output is Output.JSON, every=every, state=state, report_volume=report)


@app.command()
def run(
    policy: _Policy,
    root: _Root,
    output: _Output = Output.TABLE,
    mode: Annotated[RunMode | None, typer.Option("--mode", help="Instead of the policy's own mode.")] = None,
    audit: Annotated[str | None, typer.Option("--audit", metavar="FILE", help="Append the audit to this file.")] = None,
    approve: Annotated[
        str | None, typer.Option("--approve", metavar="DIGEST", help="Carry out the plan that was held under it.")
    ] = None,
    state: _State = None,
    report: _Report = None,
) -> None:
    """Carry out a policy, in its own mode: a dry run unless it says Enforce."""
    from housekeeper_worker import commands  # noqa: PLC0415

    wanted: Mode | None = None if mode is None else mode.value
    commands.run(
        policy,
        root,
        as_json=output is Output.JSON,
        mode=wanted,
        audit=audit,
        approve=approve,
        state=state,
        report_volume=report,
    )


@app.command()
def plans(
    root: Annotated[str, typer.Option("--root", metavar="DIR", help="The volume, or a directory of stored plans.")],
    digest: Annotated[
        str | None, typer.Argument(metavar="[DIGEST]", help="Show every file of this plan. Its beginning is enough.")
    ] = None,
    output: _Output = Output.TABLE,
) -> None:
    """Show which plans wait for approval, and what is in them."""
    from housekeeper_worker import commands  # noqa: PLC0415

    commands.plans(root, digest, as_json=output is Output.JSON)


@app.command()
def simulate(
    policy: _Policy,
    items: Annotated[
        str, typer.Option("--items", metavar="ITEMS.jsonl", help='Lines {"path", "time", "size"}; - is standard input.')
    ],
    now: Annotated[
        str | None, typer.Option("--now", metavar="TIME", help="When the run would be. Default: now.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="Replay runs until then: what would be there, when.")
    ] = None,
    every: Annotated[str, typer.Option("--every", metavar="DURATION", help="Between two runs of a replay.")] = "1d",
    output: Annotated[Output, typer.Option("-o", "--output", help="A table, or a JSON object a line.")] = Output.TABLE,
) -> None:
    """Show what a policy would decide about items that a file lists, with its reasons. No volume is looked at."""
    from housekeeper_worker import commands  # noqa: PLC0415

    commands.simulate(policy, items, now=now, until=until, every=every, as_json=output is Output.JSON)


@app.command()
def check(
    policy: Annotated[str, typer.Argument(metavar="CHECK.yaml", help="A HealthCheck; - is standard input.")],
    volume: Annotated[
        list[str] | None, typer.Option("--volume", metavar="NAME=DIR", help="Where a volume of the check is.")
    ] = None,
    output: _Output = Output.TABLE,
) -> None:
    """Carry out a health check. It succeeds (0) if all checks could be carried out, whatever they found; else 3."""
    from housekeeper_worker import commands  # noqa: PLC0415

    commands.check(policy, volume or [], as_json=output is Output.JSON)


def main() -> None:
    """Entry point. Ends the process with one of `housekeeper_api.exit_codes`."""
    try:
        code = app(prog_name="housekeeper", standalone_mode=False)
    except TyperException as error:
        sys.stderr.write(f"housekeeper: {error.format_message()}\n")
        sys.exit(ExitCode.INVALID_TASK)
    except typer.Abort:
        sys.exit(ExitCode.FAILED)
    sys.exit(code or 0)

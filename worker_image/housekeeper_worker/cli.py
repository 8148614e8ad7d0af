"""`housekeeper`: the same engine and the same policy files without a cluster.

Only the shape of the command line is here. What the commands do (`commands`) is imported when one is called, so that
`--help` does not wait for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from housekeeper_api.exit_codes import ExitCode
from housekeeper_api.task import Mode
from housekeeper_api.version import RELEASE
from housekeeper_worker import standard_streams
from housekeeper_worker.encoding import ensure_utf8
from housekeeper_worker.errors import OutputLost

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
_PolicyOrRules = Annotated[
    str | None,
    typer.Argument(metavar="POLICY.yaml", help="A CleanupPolicy; - is standard input. Without it, quick rules."),
]
_Root = Annotated[str, typer.Option("--root", metavar="DIR", help="The volume: nothing outside of it is touched.")]
_Capacity = Annotated[
    str | None,
    typer.Option("--capacity", metavar="SIZE", help="How large the claim is, such as 100Gi: for pressure.of: Claim."),
]
_State = Annotated[
    str | None,
    typer.Option("--state", metavar="FILE", help="What is known of past runs, for brakes and status; run adds to it."),
]
_Report = Annotated[
    str | None,
    typer.Option("--report", metavar="DIR", help="Store plans here, not on the volume; a dry run's too."),
]
_Output = Annotated[Output, typer.Option("-o", "--output", help="A table, or exactly one JSON object.")]

# Quick rules: what a policy file with one rule would say.
_Days = Annotated[int | None, typer.Option("--days", min=1, help="Quick rule: what is older may go.", metavar="N")]
_Keep = Annotated[int | None, typer.Option("--keep", min=1, help="Quick rule: the newest so many stay.", metavar="N")]
_GroupBy = Annotated[
    str | None,
    typer.Option("--group-by", metavar="RE2", help="Quick rule: named captures: --keep for each."),
]
_Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="GLOB", help="Quick rule: only these. Default: **"),
]
_Exclude = Annotated[list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Quick rule: not these.")]
_MaxPercent = Annotated[
    int | None,
    typer.Option("--max-percent", min=0, max=100, help="Quick rule: brake. Default: 50", metavar="N"),
]
_TimeZone = Annotated[
    str | None, typer.Option("--time-zone", metavar="ZONE", help="Quick rule: of days. Default: Etc/UTC")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"housekeeper {RELEASE}\n")
        raise typer.Exit


@app.callback()
def housekeeper(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the release, and end.")
    ] = False,
) -> None:
    """Options of all commands."""


@app.command()
def plan(
    root: _Root,
    policy: _PolicyOrRules = None,
    output: _Output = Output.TABLE,
    every: Annotated[bool, typer.Option("--all", help="In the table, also what stays.")] = False,
    capacity: _Capacity = None,
    state: _State = None,
    report: _Report = None,
    days: _Days = None,
    keep: _Keep = None,
    group_by: _GroupBy = None,
    include: _Include = None,
    exclude: _Exclude = None,
    max_percent: _MaxPercent = None,
    time_zone: _TimeZone = None,
) -> None:
    """Show what a policy or quick rules would remove, and why. Nothing is changed, whatever the policy's mode is."""
    from housekeeper_worker import commands  # noqa: PLC0415
    from housekeeper_worker.quick_rules import QuickRules  # noqa: PLC0415

    quick = QuickRules(days, keep, group_by, tuple(include or ()), tuple(exclude or ()), max_percent, time_zone)
    commands.plan(
        policy,
        quick,
        root,
        as_json=output is Output.JSON,
        every=every,
        capacity=capacity,
        state=state,
        report_volume=report,
    )


@app.command()
def run(
    root: _Root,
    policy: _PolicyOrRules = None,
    output: _Output = Output.TABLE,
    mode: Annotated[RunMode | None, typer.Option("--mode", help="Instead of the policy's own mode.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, whatever the policy says.")] = False,
    audit: Annotated[str | None, typer.Option("--audit", metavar="FILE", help="Append the audit to this file.")] = None,
    capacity: _Capacity = None,
    approve: Annotated[
        str | None, typer.Option("--approve", metavar="DIGEST", help="Carry out the plan that was held under it.")
    ] = None,
    state: _State = None,
    report: _Report = None,
    daemon: Annotated[bool, typer.Option("--daemon", help="Go on, by the policy's schedule, until SIGTERM.")] = False,
    days: _Days = None,
    keep: _Keep = None,
    group_by: _GroupBy = None,
    include: _Include = None,
    exclude: _Exclude = None,
    max_percent: _MaxPercent = None,
    time_zone: _TimeZone = None,
    force: Annotated[bool, typer.Option("--force", help="Quick rule: remove. Overrides nothing: brakes hold.")] = False,
) -> None:
    """Carry out a policy in its own mode, a dry run unless it says Enforce; or quick rules, dry without --force."""
    from housekeeper_worker import commands  # noqa: PLC0415
    from housekeeper_worker.quick_rules import QuickRules  # noqa: PLC0415

    quick = QuickRules(days, keep, group_by, tuple(include or ()), tuple(exclude or ()), max_percent, time_zone, force)
    wanted: Mode | None = None if mode is None else mode.value
    as_json = output is Output.JSON
    if daemon:
        commands.serve(policy, quick, root, mode=wanted, dry_run=dry_run, state=state, approve=approve, as_json=as_json)
    else:
        commands.run(
            policy,
            quick,
            root,
            as_json=as_json,
            mode=wanted,
            dry_run=dry_run,
            audit=audit,
            capacity=capacity,
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
def status(
    root: Annotated[str | None, typer.Option("--root", metavar="DIR", help="Of the last run there.")] = None,
    state: Annotated[str | None, typer.Option("--state", metavar="FILE", help="Of the last run with it.")] = None,
    output: _Output = Output.TABLE,
) -> None:
    """Show how the last run on this machine ended, and when its schedule asks for the next."""
    from housekeeper_worker import inspection  # noqa: PLC0415

    inspection.status(root, state, as_json=output is Output.JSON)


@app.command("verify-audit")
def verify_audit(
    file: Annotated[str, typer.Argument(metavar="FILE", help="An audit, or a pod's log; - is standard input.")],
    head: Annotated[str | None, typer.Option("--head", metavar="HASH", help="`audit.head` of a result.")] = None,
    output: _Output = Output.TABLE,
) -> None:
    """Check that an audit is what was written: 0 it is whole, 3 its end was not written, 1 it was changed."""
    from housekeeper_worker import inspection  # noqa: PLC0415

    inspection.verify_audit(file, head=head, as_json=output is Output.JSON)


@app.command()
def restore(
    root: _Root,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run, or one quarantine of it. Without: list them.")
    ] = None,
    paths: Annotated[
        list[str] | None, typer.Option("--path", metavar="GLOB", help="Only what this takes; may be given again.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would come back.")] = False,
    output: _Output = Output.TABLE,
    audit: Annotated[str | None, typer.Option("--audit", metavar="FILE", help="Append the audit to this file.")] = None,
) -> None:
    """Put back what a run quarantined, or list what can be put back. Nothing is ever overwritten."""
    from housekeeper_worker import commands  # noqa: PLC0415

    as_json = output is Output.JSON
    commands.restore(run, root, paths=paths or [], dry_run=dry_run, as_json=as_json, audit=audit)


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


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether the output is to be JSON, of a command line that makes no sense otherwise."""
    output = ""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if word == "--":
            break
        if word in {"-o", "--output"}:
            output = following
        elif word.startswith("--output="):
            output = word.partition("=")[2]
        elif word.startswith("-o"):
            output = word[2:]
    return output == Output.JSON


def main() -> None:
    """Entry point. Ends the process with one of `housekeeper_api.exit_codes`."""
    ensure_utf8()
    standard_streams.guard()
    try:
        code = app(prog_name="housekeeper", standalone_mode=False)
        sys.stdout.flush()  # here, where it is known what to do if that fails
    except TyperException as error:
        from housekeeper_worker.ending import refuse  # noqa: PLC0415 - as the commands are

        refuse(error.format_message(), as_json=_wants_json(sys.argv[1:]))
    except OutputLost as error:
        from housekeeper_worker.ending import end_without_output  # noqa: PLC0415 - as above

        end_without_output(error)
    except typer.Abort:
        sys.exit(ExitCode.FAILED)
    sys.exit(code or 0)

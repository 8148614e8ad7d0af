"""From resources to tasks, and what only more than CEL can know about a resource."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from housekeeper_api import expressions, globs, names, task, time_formats
from housekeeper_api.cleanup_policy import Brakes, CleanupPolicy, CleanupRule, Pressure
from housekeeper_api.durations import Duration
from housekeeper_api.fields.pod import Resources
from housekeeper_api.fields.retention import Keep
from housekeeper_api.health_check import Check, HealthCheck, PercentThresholds, SizeThresholds
from housekeeper_api.maintenance_run import MaintenanceRun
from housekeeper_api.quantities import parse_quantity
from housekeeper_api.schedules import load_time_zone, resolve

MAX_TASK_BYTES: Final = 192 * 1024
"""A task travels as an annotation, and the annotations of an object have 256 KiB together."""


def cleanup_task(
    policy: CleanupPolicy,
    *,
    run: str,
    attempt: int,
    mode: task.Mode,
    approve: str | None = None,
    in_time: bool = False,
    state: tuple[task.PastRun, ...] | None = None,
    capacity: int | None = None,
) -> task.Task:
    """The task of one attempt at a policy; nothing in it is left to the worker's defaults.

    `approve` is the digest of the stored plan that it is to carry out, `in_time` whether that was held when it was
    approved; `state` the numbers of past runs, newest first,
    None where nobody keeps them; `capacity` the bytes of the claim, for a policy that asks for them (`needs_capacity`).
    """
    spec, volume = policy.spec, policy.spec.target.volume
    context = spec.pod.security_context
    return task.Task(
        run=run,
        namespace=policy.metadata.namespace,
        policy=policy.metadata.name,
        attempt=attempt,
        mode=mode,
        time_zone=spec.time_zone,
        timeout_seconds=spec.timeout.seconds,
        cleanup=task.Cleanup(
            root=names.TARGET_MOUNT,
            path=volume.path or "",
            rules=tuple(_rule(rule) for rule in spec.rules),
            settle_seconds=spec.settle_time.seconds,
            open_files=spec.open_files,
            brakes=_brakes(spec.brakes),
            fs_group=None if context is None else context.fs_group,
            pressure=None if spec.pressure is None else _pressure(spec.pressure, capacity),
            hold_seconds=spec.hold_for.seconds,
            expect_marker=volume.expect_marker,
            state=state,
            approve=approve,
            approved_in_time=in_time,
            report=_report(policy),
            report_keep_seconds=None if spec.report is None else spec.report.keep_for.seconds,
            quarantine_seconds=spec.quarantine.keep_for.seconds,
            processes=spec.limits.processes,
            operations_per_second=spec.limits.operations_per_second,
        ),
    )


def needs_capacity(policy: CleanupPolicy) -> bool:
    """Whether the task of the policy is to say how large its claim is."""
    return policy.spec.pressure is not None and policy.spec.pressure.of == "Claim"


def _pressure(pressure: Pressure, capacity: int | None) -> task.Pressure:
    return task.Pressure(
        high_percent=pressure.high_percent,
        low_percent=pressure.low_percent,
        of=pressure.of,
        capacity_bytes=capacity if pressure.of == "Claim" else None,
    )


def _brakes(brakes: Brakes) -> task.Brakes:
    return task.Brakes(
        max_percent=brakes.max_percent,
        max_items=brakes.max_items,
        max_bytes=None if brakes.max_bytes is None else int(parse_quantity(brakes.max_bytes)),
        on_trip=brakes.on_trip,
    )


def _report(policy: CleanupPolicy) -> str | None:
    """Where reports and plans go in the pod: below the mount of their volume, and never outside it."""
    report = policy.spec.report
    if report is None:
        return None
    return names.REPORT_MOUNT if report.path is None else f"{names.REPORT_MOUNT}/{report.path}"


def restore_task(
    policy: CleanupPolicy, *, run: str, attempt: int, mode: task.Mode, of: str, paths: tuple[str, ...]
) -> task.Task:
    """The task of one attempt at bringing back what the run `of` quarantined on the volume of a policy."""
    spec, metadata = policy.spec, policy.metadata
    return task.Task(
        run=run,
        namespace=metadata.namespace,
        policy=metadata.name,
        attempt=attempt,
        mode=mode,
        time_zone=spec.time_zone,
        timeout_seconds=spec.timeout.seconds,
        restore=task.Restore(
            root=names.TARGET_MOUNT,
            run=of,
            namespace=metadata.namespace,
            paths=paths,
            report=_report(policy),
            report_keep_seconds=None if spec.report is None else spec.report.keep_for.seconds,
        ),
    )


def _rule(rule: CleanupRule) -> task.Rule:
    return task.Rule(
        name=rule.name,
        include=rule.select.include,
        exclude=rule.select.exclude,
        remove_older_than=_text(rule.remove_older_than),
        time=task.ItemTime(rule.time.source, rule.time.format or ""),
        group_by=rule.group_by,
        keep=None if rule.keep is None else _keep(rule.keep),
        keep_per_group=tuple(task.GroupKeep(dict(one.match), _keep(one.keep)) for one in rule.keep_per_group),
        min_size=_whole_bytes(rule.select.min_size, ROUND_CEILING),
        max_size=_whole_bytes(rule.select.max_size, ROUND_FLOOR),
        action=rule.action,
        item_type=rule.select.item_type,
        ignore_incomplete=rule.select.ignore_incomplete,
        remove_empty_directories=rule.remove_empty_directories,
    )


def _whole_bytes(size: str | None, rounding: str) -> int | None:
    """Whole bytes of a size: `0.7` at least is 1, and at most is 0."""
    return None if size is None else int(parse_quantity(size).to_integral_value(rounding))


def _keep(keep: Keep) -> task.Keep:
    return task.Keep(
        last=keep.last,
        hourly=keep.hourly,
        daily=keep.daily,
        weekly=keep.weekly,
        monthly=keep.monthly,
        yearly=keep.yearly,
        within=_text(keep.within),
        within_hourly=_text(keep.within_hourly),
        within_daily=_text(keep.within_daily),
        within_weekly=_text(keep.within_weekly),
        within_monthly=_text(keep.within_monthly),
        within_yearly=_text(keep.within_yearly),
        max_total_size=None if keep.max_total_size is None else int(parse_quantity(keep.max_total_size)),
        at_least=1 if keep.at_least is None else keep.at_least,
    )


def _text(duration: Duration | None) -> str | None:
    return None if duration is None else str(duration)


def health_task(check: HealthCheck, *, run: str, attempt: int) -> task.Task:
    """The task of one attempt at a check. Its mode is DryRun: whatever it mounts is read-only."""
    return task.Task(
        run=run,
        namespace=check.metadata.namespace,
        policy=check.metadata.name,
        attempt=attempt,
        mode="DryRun",
        time_zone=check.spec.time_zone,
        timeout_seconds=check.spec.timeout.seconds,
        health=task.Health(checks=tuple(_check(one) for one in check.spec.checks)),
    )


def semantic_problems(model: CleanupPolicy | HealthCheck | MaintenanceRun) -> list[str]:
    """What is wrong with a resource that the API server accepts: `path: sentence` each; empty if nothing is."""
    if isinstance(model, MaintenanceRun):
        return []
    problems = []
    spec, metadata = model.spec, model.metadata
    try:
        load_time_zone(spec.time_zone)
    except ValueError as error:
        problems.append(f"spec.timeZone: {error}")
    try:
        resolve(
            spec.schedule,
            namespace=metadata.namespace,
            name=metadata.name,
            time_zone="Etc/UTC" if problems else spec.time_zone,
            kind=model.kind,
        )
    except ValueError as error:
        problems.append(f"spec.schedule: {error}")
    if isinstance(model, CleanupPolicy):
        problems += _glob_problems(model)
        problems += _grouping_problems(model)
        size = len(cleanup_task(model, run="", attempt=1, mode="Enforce").to_json().encode())
        if size > MAX_TASK_BYTES:
            problems.append(
                f"spec.rules: {size // 1024} KiB in all, more than the {MAX_TASK_BYTES // 1024} KiB that a pod can be "
                "given; write fewer or shorter globs, or several policies"
            )
    if spec.pod.resources is not None:
        problems += _resource_problems(spec.pod.resources)
    return problems


def _glob_problems(policy: CleanupPolicy) -> list[str]:
    problems = []
    for number, rule in enumerate(policy.spec.rules):
        for where in ("include", "exclude"):
            for index, text in enumerate(getattr(rule.select, where)):
                try:
                    globs.parse(text)
                except globs.GlobError as error:
                    problems.append(f"spec.rules[{number}].select.{where}[{index}]: {text!r} {error}")
    return problems


def _grouping_problems(policy: CleanupPolicy) -> list[str]:
    problems = []
    for number, rule in enumerate(policy.spec.rules):
        where = f"spec.rules[{number}]"
        if rule.time.format is not None:
            try:
                time_formats.directives(rule.time.format)
            except ValueError as error:
                problems.append(f"{where}.time.format: {error}")
        if rule.group_by is None:
            continue
        _, captures = expressions.compiled(rule.group_by)
        if not captures:
            problems.append(f"{where}.groupBy: has no named capture, such as (?P<env>prod|qa)")
        problems += [
            f"{where}.groupBy: several captures have the name {name}; give each a name of its own"
            for name in expressions.repeated_names(rule.group_by)
        ]
        for index, one in enumerate(rule.keep_per_group):
            problems += [
                f"{where}.keepPerGroup[{index}].match: {name} is no capture of groupBy (there is {', '.join(captures)})"
                for name in sorted(set(one.match) - set(captures))
            ]
    return problems


def _resource_problems(resources: Resources) -> list[str]:
    if resources.requests is None or resources.limits is None:
        return []
    requests, limits = resources.requests.to_object(), resources.limits.to_object()
    return [
        f"spec.pod.resources.requests.{name}: {requests[name]} is more than the limit of {limits[name]}; "
        "lower it or raise the limit"
        for name in requests
        if name in limits and parse_quantity(requests[name]) > parse_quantity(limits[name])
    ]


def _check(check: Check) -> task.Check:
    if check.memory is not None:
        thresholds = {"used": _percent(check.memory.used)}
        if check.memory.available is not None:
            thresholds["available"] = _bytes(check.memory.available)
        return task.Check(name=check.name, type="Memory", thresholds=thresholds)
    if check.cpu is not None:
        return task.Check(
            name=check.name,
            type="CPU",
            thresholds={"used": _percent(check.cpu.used)},
            sample_seconds=check.cpu.sample.seconds,
        )
    # A type without its member is refused when the resource is read.
    assert check.filesystem is not None  # noqa: S101
    return task.Check(
        name=check.name,
        type="Filesystem",
        thresholds={
            "used": _percent(check.filesystem.used),
            "inodesUsed": _percent(check.filesystem.inodes_used),
        },
        mount=f"{names.VOLUMES_DIRECTORY}/{check.filesystem.volume}",
    )


def _percent(thresholds: PercentThresholds) -> task.Threshold:
    def read(text: str | None) -> float | None:
        return None if text is None else float(Decimal(text.removesuffix("%")))

    return task.Threshold(
        warn_above=read(thresholds.warn_above),
        fail_above=read(thresholds.fail_above),
        warn_below=read(thresholds.warn_below),
        fail_below=read(thresholds.fail_below),
    )


def _bytes(thresholds: SizeThresholds) -> task.Threshold:
    def read(text: str | None) -> float | None:
        return None if text is None else float(parse_quantity(text))

    return task.Threshold(
        warn_above=read(thresholds.warn_above),
        fail_above=read(thresholds.fail_above),
        warn_below=read(thresholds.warn_below),
        fail_below=read(thresholds.fail_below),
    )

"""Quick rules: a policy written as options of the command line. They become a policy document, and nothing else.

So `--days 30 --keep 5` means exactly what a policy file with one such rule means, with its defaults: settle time, open
files, brakes.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final

from housekeeper_api import names
from housekeeper_api.task import Mode
from housekeeper_worker.policy_file import InvalidFile, Source

NAME: Final = "quick-rules"
"""Name of the policy and of its rule."""


@dataclasses.dataclass(frozen=True, slots=True)
class QuickRules:
    """What was given on the command line; None or empty: not given."""

    days: int | None = None
    keep: int | None = None
    group_by: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_percent: int | None = None
    time_zone: str | None = None
    force: bool = False
    """Remove. It overrides nothing: brakes, settle time and open files hold as ever."""

    @property
    def given(self) -> bool:
        """Whether anything was."""
        return self != QuickRules()

    def options(self) -> list[str]:
        """The options that say so, with `--force`: what carries out what was held."""
        single = {
            "--days": self.days,
            "--keep": self.keep,
            "--group-by": self.group_by,
            "--max-percent": self.max_percent,
            "--time-zone": self.time_zone,
        }
        words = [word for option, value in single.items() if value is not None for word in (option, str(value))]
        words += [word for glob in self.include for word in ("--include", glob)]
        words += [word for glob in self.exclude for word in ("--exclude", glob)]
        return [*words, "--force"]

    def document(self) -> dict[str, Any]:
        """The policy that says the same."""
        rule: dict[str, Any] = {"name": NAME, "select": {"include": list(self.include or ("**",))}}
        if self.exclude:
            rule["select"]["exclude"] = list(self.exclude)
        if self.days is not None:
            rule["removeOlderThan"] = f"{self.days}d"
        if self.keep is not None:
            rule["keep"] = {"last": self.keep}
        if self.group_by is not None:
            rule["groupBy"] = self.group_by
        spec: dict[str, Any] = {
            "mode": "Enforce" if self.force else "DryRun",
            "target": {"volume": {"persistentVolumeClaim": {"claimName": NAME}}},  # stands for --root
            "rules": [rule],
        }
        if self.max_percent is not None:
            spec["brakes"] = {"maxPercent": self.max_percent}
        if self.time_zone is not None:
            spec["timeZone"] = self.time_zone
        metadata = {"name": NAME}
        return {"apiVersion": names.API_VERSION, "kind": names.CLEANUP_POLICY, "metadata": metadata, "spec": spec}


def source(policy: str | None, quick: QuickRules) -> Source:
    """Where the policy is: in the file, or in the options, never in both. Raises `InvalidFile`."""
    if policy is not None and quick.given:
        told = (
            "a policy file and quick rules (--days, --keep, --include, --exclude, --group-by, --max-percent, "
            "--time-zone, --force) exclude each other: write them into the file, or leave the file out"
        )
        raise InvalidFile([told])
    if policy is not None:
        return Source(policy)
    if quick.days is None and quick.keep is None:
        raise InvalidFile(["write a POLICY.yaml, or what may go: --days N, --keep N, or both"])
    return Source(NAME, json.dumps(quick.document()))


def mode(wanted: Mode | None, *, dry_run: bool, quick: QuickRules) -> Mode | None:
    """How dry a run is to be; None: as its policy says. Raises `InvalidFile` where the options contradict."""
    if wanted is not None and quick.given:
        raise InvalidFile(["--mode is for a policy file: quick rules are a dry run, or with --force none"])
    if dry_run and quick.force:
        raise InvalidFile(["--dry-run and --force exclude each other"])
    if dry_run and wanted == "Enforce":
        raise InvalidFile(["--dry-run and --mode Enforce exclude each other"])
    return "DryRun" if dry_run else wanted

"""Plans that are held and approved, in a few words."""

from __future__ import annotations

from pathlib import Path

from housekeeper_api.result import Result
from housekeeper_api.task import Rule
from tests.unit.worker.builders import carry_out, cleanup_task, counters, files_below


def held(root: Path, *rules: Rule, **changes: object) -> str:
    """The digest of a plan that was held and stored."""
    result = carry_out(cleanup_task(root, *rules, max_items=0, **changes))
    assert result.outcome == "Held"
    digest = counters(result).plan_digest
    assert digest in result.message
    assert counters(result).plan_stored == f".housekeeper/plans/{digest.removeprefix('sha256:')}.plan"
    return digest


def approve(root: Path, digest: str, *rules: Rule, **changes: object) -> Result:
    return carry_out(cleanup_task(root, *rules, max_items=0, approve=digest, **changes))


def plans(root: Path) -> set[bytes]:
    return {path for path in files_below(root) if path.startswith(b".housekeeper/")}

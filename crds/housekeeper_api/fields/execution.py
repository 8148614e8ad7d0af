"""How runs of a policy or check are carried out: schedule, claims, retries, history."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from housekeeper_api import names
from housekeeper_api.durations import Duration
from housekeeper_api.fields.base import Model
from housekeeper_api.fields.rules import Rule
from housekeeper_api.fields.values import AnyDuration, ObjectName, between, not_shorter

POLICY_NAME = Rule(
    f"size(self.metadata.name) <= {names.MAX_POLICY_NAME}",
    lambda self: len(self.metadata.name) <= names.MAX_POLICY_NAME,
    f"metadata.name may not be longer than {names.MAX_POLICY_NAME} characters, because the CronJob is named after it",
)
"""The API server lets no rule point into metadata, so the message names the field."""

StartingDeadline = Annotated[AnyDuration, between("60s", "1y")]
Timeout = Annotated[AnyDuration, between("1s", "7d")]
PendingTimeout = Annotated[AnyDuration, between("10s", "7d")]
Backoff = Annotated[AnyDuration, between("0s", "1d")]
TimeToLive = Annotated[AnyDuration, between("1m", "10y")]
Kept = Annotated[int, Field(ge=0, le=100)]


class PersistentVolumeClaim(Model):
    """A PersistentVolumeClaim of the same namespace."""

    claim_name: ObjectName
    """Name of the claim."""


class Retry(Model):
    """What happens after a failed attempt. What cannot get better (an invalid task) is not tried again."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        not_shorter("maxBackoff", "backoff", "must be at least as long as backoff"),
    )

    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """How often a run is tried in all."""
    backoff: Backoff = Duration(30, "s")
    """Wait before the second attempt; it doubles with each further one."""
    max_backoff: Backoff = Duration(10, "m")
    """Longest wait between two attempts."""


class History(Model):
    """How many finished runs are kept, and for how long."""

    succeeded: Kept = 3
    """Number of succeeded runs that are kept."""
    failed: Kept = 5
    """Number of failed runs that are kept, and of skipped and cancelled ones besides."""
    ttl: TimeToLive = Duration(7, "d")
    """Age at which a finished run is removed in any case."""

"""The kinds that are generated, in the order in which people meet them."""

from __future__ import annotations

from typing import Final

from housekeeper_api.cleanup_policy import CleanupPolicy
from housekeeper_api.fields.base import Resource
from housekeeper_api.health_check import HealthCheck
from housekeeper_api.maintenance_run import MaintenanceRun

KINDS: Final[tuple[type[Resource], ...]] = (CleanupPolicy, HealthCheck, MaintenanceRun)

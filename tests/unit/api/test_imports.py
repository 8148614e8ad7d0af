"""What the worker imports in a pod costs nothing but the standard library."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["names", "task", "result", "exit_codes", "durations", "quantities", "schedules"])
def test_a_module_of_the_worker_needs_the_standard_library_only(module: str) -> None:
    program = (
        f"import sys, housekeeper_api.{module}; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & {'pydantic', 'pydantic_core', 'yaml'}))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""

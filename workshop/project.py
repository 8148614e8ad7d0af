"""Where the project lies, what it tracks, and how its programs are started."""

from __future__ import annotations

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
KUBERNETES_VERSION = "1.34.4"
"""What the chart is rendered and checked for; the embedded cluster is of this release."""


def run(
    *command: str, check: bool = True, capture: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in the project's root, with the virtual environment's programs first on the PATH."""
    programs = os.path.dirname(sys.executable)
    return subprocess.run(
        command,
        cwd=ROOT,
        check=check,
        text=True,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **environment},
    )


def tracked_files() -> list[str]:
    """Paths below the root of all files that git tracks or would track, sorted."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted(path for path in set(listing.split("\0")) if path and os.path.isfile(os.path.join(ROOT, path)))


def read(path: str) -> str:
    """The text of a file of the project."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()

"""Check that no tracked file names a package registry or a place on somebody's machine.

Requirements, modules and images are fetched from wherever the machine's own configuration says.
"""

from __future__ import annotations

import os
import re

from workshop.project import ROOT, tracked_files

# One letter of each stands in a class, so that this file does not find itself.
_REGISTRIES = re.compile(
    r"py[p]i\.org|files\.python[h]osted|proxy\.g[o]lang|sum\.g[o]lang|deb\.d[e]bian|registry\.k[8]s\.io|gh[c]r\.io|qu[a]y\.io"
)
_MACHINES = re.compile(r"(?<![\w.])/(?:h[o]me/\w|ro[o]t/|wo[r]k/|Us[e]rs/\w|opt/wh[e]els)")
_EXEMPT = (".sum",)  # go.sum lists module paths, and some look like hosts


def problems() -> list[str]:
    """One line, with path and line number, for each finding."""
    found = []
    for path in tracked_files():
        if path.endswith(_EXEMPT):
            continue
        with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, start=1):
                for pattern, what in ((_REGISTRIES, "a package registry"), (_MACHINES, "a place on one machine")):
                    if match := pattern.search(line):
                        found.append(f"{path}:{number}: names {what}: {match[0]}")
    return found

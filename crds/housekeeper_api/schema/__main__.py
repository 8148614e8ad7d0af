"""`python -m housekeeper_api.schema write|check`: write the generated files, or fail if one is out of date."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence

from housekeeper_api.schema import crd, reference
from housekeeper_api.schema.kinds import KINDS

COMMAND = "python -m housekeeper_api.schema write"


def generated_files(root: str) -> dict[str, str]:
    """Path and content of every generated file of the checkout at `root`."""
    files = {os.path.join(root, "crds", crd.file_name(kind)): crd.as_yaml(crd.build_crd(kind)) for kind in KINDS}
    files[os.path.join(root, "docs", "reference", "api.md")] = reference.as_markdown(KINDS)
    return files


def write(root: str) -> list[str]:
    """Write what differs; returns the paths written."""
    changed = []
    for path, content in generated_files(root).items():
        if _read(path) != content:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
            changed.append(path)
    return changed


def differences(root: str) -> str:
    """A unified diff from the files to what they should be; empty if they are up to date."""
    lines: list[str] = []
    for path, content in generated_files(root).items():
        name = os.path.relpath(path, root)
        lines += difflib.unified_diff(
            _read(path).splitlines(keepends=True), content.splitlines(keepends=True), name, f"{name} (generated)"
        )
    return "".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns 0, or 1 if `check` found a difference."""
    parser = argparse.ArgumentParser(prog="python -m housekeeper_api.schema", description=__doc__)
    parser.add_argument("action", choices=("write", "check"))
    parser.add_argument("--root", default=_checkout(), help="root of the checkout (default: this one)")
    options = parser.parse_args(arguments)
    if options.action == "write":
        for path in write(options.root):
            print(f"wrote {os.path.relpath(path, options.root)}")  # noqa: T201
        return 0
    found = differences(options.root)
    if found:
        sys.stdout.write(found)
        print(f"The generated files differ from the models. Run: {COMMAND}", file=sys.stderr)  # noqa: T201
    return 1 if found else 0


def _checkout() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())

"""`make verify`: everything that can be said about the checkout without running the product.

The checks are independent and run side by side. A failure shows its output and how it is mended.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable

from workshop import chart, derived, documents, kubernetes_schemas, requirement_files, tracked_files
from workshop.project import KUBERNETES_VERSION, ROOT, run

VARIANTS = {
    "defaults": (),
    "two replicas, everything optional": (
        *("--set", "replicas=2", "--set", "networkPolicy.enabled=true", "--set", "metrics.serviceMonitor.enabled=true"),
        *(
            "--set",
            "labels.team=storage",
            "--set",
            "imagePullSecrets={registry}",
            "--set",
            "imageRegistry=registry.example.com",
        ),
    ),
    "named namespaces": ("--set", "watchNamespaces={one,two}"),
    "nothing but the operator": (
        *("--set", "crds.enabled=false", "--set", "rbac.create=false", "--set", "rbac.aggregate=false"),
        *("--set", "serviceAccount.create=false", "--set", "metrics.service.enabled=false"),
    ),
}
"""Sets of values that the chart is linted, rendered and checked with."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One check: a function that returns what it found (empty if nothing), and the way to mend it."""

    name: str
    find: Callable[[], str]
    mend: str


def command(*arguments: str) -> Callable[[], str]:
    """A check that is a program: what it prints counts if it fails."""

    def find() -> str:
        result = run(*arguments, check=False, capture=True)
        return "" if result.returncode == 0 else result.stdout or f"exit code {result.returncode}"

    return find


def listing(find: Callable[[], list[str]]) -> Callable[[], str]:
    """A check that is a function returning one line for each finding."""
    return lambda: "\n".join(find())


def lint_chart() -> str:
    """`helm lint --strict` with each variant of values."""
    found = []
    for name, arguments in VARIANTS.items():
        lint = (chart.tool("helm"), "lint", "--strict", "--kube-version", KUBERNETES_VERSION, chart.CHART, *arguments)
        result = run(*lint, check=False, capture=True)
        if result.returncode != 0:
            found.append(f"with {name}:\n{result.stdout}")
    return "\n".join(found)


def check_manifests() -> str:
    """kubeconform, strictly, over the rendered chart in each variant, and over the examples."""
    with tempfile.TemporaryDirectory() as directory:
        for index, arguments in enumerate(VARIANTS.values()):
            with open(os.path.join(directory, f"variant-{index}.yaml"), "w", encoding="utf-8") as file:
                file.write(chart.render(*arguments))
        locations = [item for place in kubernetes_schemas.schema_locations() for item in ("-schema-location", place)]
        # The Prometheus Operator's kind is not Kubernetes' own; a unit test looks at it instead.
        result = run(
            *(chart.tool("kubeconform"), "-strict", "-summary", "-skip", "ServiceMonitor"),
            *(*locations, directory, "examples"),
            check=False,
            capture=True,
        )
    return "" if result.returncode == 0 else result.stdout


CHECKS = (
    Check("types (mypy --strict)", command("mypy"), "correct what is listed"),
    Check("manifests (kubeconform)", check_manifests, "correct the templates or the examples"),
    Check("chart (helm lint --strict)", lint_chart, "correct charts/housekeeper"),
    Check("import arrows (lint-imports)", command("lint-imports", "--no-cache"), "move the code, not the contract"),
    Check(
        "format (ruff format)",
        command("ruff", "format", "--check", "--quiet", "--diff", "."),
        ".venv/bin/ruff format .",
    ),
    Check("lint (ruff check)", command("ruff", "check", "--quiet", "."), ".venv/bin/ruff check --fix ."),
    Check("generated API files", command(sys.executable, "-m", "housekeeper_api.schema", "check"), "make generate"),
    Check("other generated files", listing(derived.out_of_date), "make generate"),
    Check("requirements/*.txt", listing(requirement_files.problems), "make lock"),
    Check("documents and examples", listing(documents.problems), "correct the documents"),
    Check("no registries, no machines", listing(tracked_files.problems), "remove what is listed"),
)


def main() -> int:
    """Run all checks, print one line each, and return 1 if any found something."""
    start = time.monotonic()
    failed: list[str] = []
    os.chdir(ROOT)
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        waiting = {pool.submit(_timed, check): check for check in CHECKS}
        for done in concurrent.futures.as_completed(waiting):
            check = waiting[done]
            found, seconds = done.result()
            print(f"{'FAILED' if found else 'ok':6}  {check.name}  ({seconds:.1f} s)", flush=True)
            if found:
                failed.append(check.name)
                print("\n".join(f"        {line}" for line in found.rstrip().splitlines()))
                print(f"        to mend it: {check.mend}", flush=True)
    took = time.monotonic() - start
    if failed:
        print(f"verify: {len(failed)} of {len(CHECKS)} checks failed in {took:.0f} s: {', '.join(sorted(failed))}")
        return 1
    print(f"verify: all {len(CHECKS)} checks passed in {took:.0f} s")
    return 0


def _timed(check: Check) -> tuple[str, float]:
    start = time.monotonic()
    found = check.find()
    return found, time.monotonic() - start


if __name__ == "__main__":
    sys.exit(main())

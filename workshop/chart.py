"""The chart: rendering it, its copies of generated files, and the checks on what comes out."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import subprocess
import sys

from workshop.project import KUBERNETES_VERSION, ROOT, read

CHART = "charts/housekeeper"
CRD_SOURCES = "crds"
CRD_COPIES = f"{CHART}/files/crds"
MANIFESTS = "dist/housekeeper.yaml"
MANIFESTS_NAMESPACE = "housekeeper-system"

_ENTRY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z]\w*):(?: +(?P<value>.*))?$")


@dataclasses.dataclass(frozen=True)
class Value:
    """One documented value of the chart."""

    path: str
    default: str
    description: str


@functools.cache
def tool(name: str) -> str:
    """The path of helm, kubectl or kubeconform as the embedded cluster's command builds them."""
    cluster = os.path.join(ROOT, "tests", "cluster", "cluster")
    return subprocess.run(
        [sys.executable, cluster, "tools", name], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def render(*arguments: str, release: str = "housekeeper", namespace: str = MANIFESTS_NAMESPACE) -> str:
    """The chart's objects as YAML. `arguments` go to `helm template`, such as `--set replicas=2`.

    Raises `subprocess.CalledProcessError`, with helm's sentence in `stderr`, for values that the chart refuses.
    """
    return subprocess.run(
        [
            *(tool("helm"), "template", release, CHART, "--namespace", namespace),
            *("--kube-version", KUBERNETES_VERSION, *arguments),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def values(text: str) -> list[Value]:
    """The entries of a values.yaml, each leaf with the comment (`# -- …`) above it.

    A leaf is a value that is a scalar, or an empty or inline list or map, or a map that carries a comment of its own.
    """
    found: list[Value] = []
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("#") and comment:
            comment.append(stripped.removeprefix("#").strip())
        elif match := _ENTRY.match(line):
            depth = len(match["indent"])
            parents = [(indent, key) for indent, key in parents if indent < depth]
            if match["value"] is None:
                parents.append((depth, match["key"]))
            else:
                path = ".".join([*(key for _, key in parents), match["key"]])
                found.append(Value(path, match["value"], " ".join(comment)))
            comment = []
    return found


def crd_copies() -> dict[str, str]:
    """The chart's copies of the generated CustomResourceDefinitions: path and content."""
    names = sorted(name for name in os.listdir(os.path.join(ROOT, CRD_SOURCES)) if name.endswith(".yaml"))
    return {f"{CRD_COPIES}/{name}": read(f"{CRD_SOURCES}/{name}") for name in names}


def values_reference() -> str:
    """The table of all values, in Markdown."""
    entries = values(read(f"{CHART}/values.yaml"))
    lines = [
        "# Values of the chart",
        "",
        "Generated from `charts/housekeeper/values.yaml` by `make generate`. Whatever is not listed here is refused at",
        "installation.",
        "",
        "| value | default | meaning |",
        "| --- | --- | --- |",
        *(f"| `{entry.path}` | `{entry.default}` | {entry.description} |" for entry in entries),
    ]
    return "\n".join(lines) + "\n"


def write_manifests(*arguments: str) -> str:
    """Write everything as one YAML for `kubectl apply --server-side`, with its namespace; returns the path."""
    # Applied without Helm, nothing is ever uninstalled by it, so its annotation would only confuse.
    text = render("--set", "crds.keep=false", *arguments)
    text = re.sub(r"^( +app\.kubernetes\.io/managed-by: )Helm$", r"\1kubectl", text, flags=re.MULTILINE)
    text = re.sub(r"^ +helm\.sh/chart: .*\n", "", text, flags=re.MULTILINE)
    namespace = (
        "apiVersion: v1\nkind: Namespace\nmetadata:\n"
        f"  name: {MANIFESTS_NAMESPACE}\n"
        "  labels:\n    pod-security.kubernetes.io/enforce: restricted\n"
    )
    os.makedirs(os.path.join(ROOT, os.path.dirname(MANIFESTS)), exist_ok=True)
    with open(os.path.join(ROOT, MANIFESTS), "w", encoding="utf-8") as file:
        file.write(namespace + text)
    return MANIFESTS

"""Image archives: the pause image is written by hand, and any archive is loaded into a cluster's containerd."""

import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile

from tests.cluster.embedded.errors import ClusterError
from tests.cluster.embedded.layout import Layout
from tests.cluster.embedded.packages import program
from tests.cluster.embedded.parts.node import PAUSE_IMAGE

from .tools import tool

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def load(layout: Layout, archive: str) -> list[str]:
    """Import an OCI or docker archive where kubelet looks for images; returns the names that it brought."""
    if not os.path.isfile(archive):
        raise ClusterError(f"{archive}: no such image archive")
    command = [
        program("ctr"),
        f"--address={layout.containerd_socket}",
        "--namespace=k8s.io",
        "images",
        "import",
        archive,
    ]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    if result.returncode != 0:
        raise ClusterError(f"loading {archive} failed: {result.stderr.strip()}")
    return [line.split()[1] for line in result.stdout.splitlines() if line.startswith("unpacking ")]


def write_pause_image(path: str) -> None:
    """A docker archive of the one static program that holds a pod's namespaces open."""
    layer = _tar({"pause": (_read(tool("pause")), 0o755)})
    configuration = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]).encode()
    with open(path, "wb") as file:
        file.write(
            _tar({name: (configuration, 0o644), "layer.tar": (layer, 0o644), "manifest.json": (manifest, 0o644)})
        )


def _tar(members: dict[str, tuple[bytes, int]]) -> bytes:
    """An uncompressed tar of files (content, mode), the same bytes for the same content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (content, mode) in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()

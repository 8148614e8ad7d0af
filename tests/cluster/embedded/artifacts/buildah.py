"""Buildah with a store of its own in the cache: no daemon, no registry, nothing shared with the machine's images."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator

from tests.cluster.embedded.errors import ClusterError
from tests.cluster.embedded.layout import cache_directory
from tests.cluster.embedded.packages import program
from tests.cluster.embedded.progress import say

# Each change of a source adds some fifteen layers and about 100 MB; past this the store is thrown away and filled anew.
_MOST_IMAGES = 500

_READ_THE_POLICY = ("bud", "commit", "from", "push")


class Store:
    """An image store; use it under the lock of its directory."""

    def __init__(self, directory: str, driver: str) -> None:
        self._options = [
            f"--root={directory}/storage",
            f"--runroot={directory}/run",
            f"--storage-driver={driver}",
        ]
        self._policy = f"--signature-policy={directory}/policy.json"
        self._environment = {
            **os.environ,
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": f"{directory}/tmp",
            # Whatever the machine says of registries and stores is about other images than ours.
            "CONTAINERS_STORAGE_CONF": f"{directory}/storage.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{directory}/registries.conf",
        }
        os.makedirs(f"{directory}/tmp", exist_ok=True)
        _write(f"{directory}/policy.json", json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        settings = {"driver": driver, "graphroot": f"{directory}/storage", "runroot": f"{directory}/run"}
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
        _write(f"{directory}/storage.conf", "[storage]\n" + "".join(lines))
        _write(f"{directory}/registries.conf", "unqualified-search-registries = []\n")

    def run(self, command: str, *arguments: str) -> str:
        """Run one buildah command and return its standard output; ClusterError with the last lines if it fails."""
        policy = [self._policy] if command in _READ_THE_POLICY else []
        line = [program("buildah"), *self._options, command, *policy, *arguments]
        result = subprocess.run(line, env=self._environment, text=True, capture_output=True, check=False)
        if result.returncode != 0:
            tail = "\n".join((result.stdout + result.stderr).splitlines()[-30:])
            raise ClusterError(f"buildah {command} failed:\n{tail}")
        return result.stdout

    def has(self, image: str) -> bool:
        """Whether the store holds an image of this full name."""
        return image in self.run("images", "--all", "--format={{.Name}}:{{.Tag}}").split()

    @contextlib.contextmanager
    def container(self, image: str) -> Iterator[str]:
        """A working container from an image or `scratch`, removed afterwards."""
        name = self.run("from", "--pull-never", image).strip()
        try:
            yield name
        finally:
            self.run("rm", name)


def open_store() -> Store:
    """The store with the overlay driver, or with vfs where this file system does not carry overlay."""
    parent = os.path.join(cache_directory(), "images")
    for driver in ("overlay", "vfs"):
        directory = os.path.join(parent, driver)
        if os.path.exists(os.path.join(directory, "refused")):
            continue
        os.makedirs(directory, exist_ok=True)
        store = Store(directory, driver)
        try:
            if len(store.run("images", "--all", "--quiet").split()) > _MOST_IMAGES:
                say("the image store has grown large: starting a fresh one")
                store.run("rmi", "--all", "--force")
            with store.container("scratch") as container:
                store.run("mount", container)
                store.run("unmount", container)
        except ClusterError as error:
            if driver == "vfs":
                raise
            say(f"images are built without overlay, more slowly: {str(error).splitlines()[-1]}")
            shutil.rmtree(directory)
            os.makedirs(directory)
            _write(os.path.join(directory, "refused"), str(error))
            continue
        return store
    raise ClusterError("no storage driver works for buildah")


def _write(path: str, content: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)

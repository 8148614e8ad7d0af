"""Volumes with files of chosen ages, sizes and owners, for pods that may not mount a directory of the host themselves.

Pod Security `restricted` refuses hostPath in a pod, but not a claim bound to a PersistentVolume of that type.
"""

import dataclasses
import os
import shutil
import time
from collections.abc import Mapping
from typing import Literal

from tests.cluster.embedded.api import Object
from tests.cluster.running import Cluster, wait_for

_DAY = 86400.0


@dataclasses.dataclass(frozen=True)
class File:
    """A file to be made: age of its modification time in days, size in bytes, and what differs from the volume's.

    More than a MiB is a hole that takes no room, but where `solid`: for rules that count allocated bytes.
    """

    age: float
    size: int = 100
    owner: int | None = None
    group: int | None = None
    mode: int = 0o644
    solid: bool = False


Files = Mapping[str, float | File]
"""Relative path → age in days, or all of a file."""


@dataclasses.dataclass(frozen=True)
class Volume:
    """A directory of this machine behind a bound claim."""

    path: str
    """The directory, absolute."""
    namespace: str
    claim: str
    """The PersistentVolumeClaim's name; it is Bound."""
    owner: int
    group: int

    def add(self, files: Files) -> None:
        """Make files, and the directories that they need, which get the volume's owner too."""
        for name, file in files.items():
            details = file if isinstance(file, File) else File(float(file))
            path = os.path.join(self.path, name)
            self._make_directories(os.path.dirname(path))
            with open(path, "wb") as content:
                if details.solid:
                    os.posix_fallocate(content.fileno(), 0, details.size)
                elif details.size > 1 << 20:
                    content.truncate(details.size)
                else:
                    content.write(b"x" * details.size)
            os.chmod(path, details.mode)
            os.chown(
                path,
                self.owner if details.owner is None else details.owner,
                self.group if details.group is None else details.group,
            )
            self.age(path, details.age)

    def age(self, path: str | bytes, days: float) -> None:
        """Set access and modification time of a file (absolute, or relative to the volume) to so many days ago."""
        then = time.time() - days * _DAY
        full = os.path.join(os.fsencode(self.path), os.fsencode(path))
        os.utime(full, (then, then), follow_symlinks=False)

    def names(self) -> set[str]:
        """The relative paths of everything but directories; bytes that are no UTF-8 become lone surrogates."""
        return {
            os.path.relpath(os.path.join(directory, name), self.path)
            for directory, directories, names in os.walk(self.path)
            for name in [*names, *(entry for entry in directories if os.path.islink(os.path.join(directory, entry)))]
        }

    def _make_directories(self, directory: str) -> None:
        missing = []
        while not os.path.isdir(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        for path in reversed(missing):
            os.mkdir(path)
            os.chown(path, self.owner, self.group)


class Volumes:
    """Makes the volumes of one test, and removes them."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._made: list[Volume] = []

    def __call__(
        self,
        files: Files | None = None,
        *,
        owner: int = 65532,
        group: int | None = None,
        kind: Literal["hostPath", "local"] = "hostPath",
        access_mode: str = "ReadWriteOnce",
        path: str | None = None,
        capacity: str = "1Gi",
    ) -> Volume:
        """A volume with these files, its claim bound.

        `kind` matters for fsGroup: kubelet changes the group of a `local` volume, and never touches a `hostPath` one.
        `path` is a directory that the test made itself, a mount point for example; it is not removed.
        `capacity` is what the claim says; what fits below the directory is another matter.
        """
        claim = f"data-{len(self._made) + 1}"
        name = f"{self._namespace}-{claim}"
        directory = path or self._cluster.layout.path("volumes", name)
        volume = Volume(directory, self._namespace, claim, owner, owner if group is None else group)
        if path is None:
            os.makedirs(directory)
            os.chown(directory, volume.owner, volume.group)
        volume.add(files or {})
        api = self._cluster.api
        api.create("/api/v1/persistentvolumes", self._persistent_volume(name, volume, kind, access_mode, capacity))
        self._made.append(volume)
        claims = f"/api/v1/namespaces/{self._namespace}/persistentvolumeclaims"
        api.create(claims, _claim(name, volume, access_mode, capacity))
        wait_for(lambda: api.get(f"{claims}/{claim}")["status"].get("phase") == "Bound", 30, f"bound claim {claim}")
        return volume

    def remove(self) -> None:
        """Remove claims, PersistentVolumes and directories without waiting for pods to end.

        What a pod that is ending still writes stays behind, until the cluster is removed.
        """
        for volume in self._made:
            name = f"{self._namespace}-{volume.claim}"
            self._cluster.api.delete(f"/api/v1/namespaces/{self._namespace}/persistentvolumeclaims/{volume.claim}")
            self._cluster.api.delete(f"/api/v1/persistentvolumes/{name}")
            if volume.path == self._cluster.layout.path("volumes", name):
                shutil.rmtree(os.fsencode(volume.path), ignore_errors=True)

    def _persistent_volume(self, name: str, volume: Volume, kind: str, access_mode: str, capacity: str) -> Object:
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [self._cluster.node_name]}
        source: Object = (
            {"hostPath": {"path": volume.path, "type": "Directory"}}
            if kind == "hostPath"
            else {
                "local": {"path": volume.path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            }
        )
        return {
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": capacity},
                "accessModes": [access_mode],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "claimRef": {"namespace": volume.namespace, "name": volume.claim},
                **source,
            },
        }


def _claim(name: str, volume: Volume, access_mode: str, capacity: str) -> Object:
    return {
        "metadata": {"name": volume.claim},
        "spec": {
            "accessModes": [access_mode],
            "resources": {"requests": {"storage": capacity}},
            "storageClassName": "",
            "volumeName": name,
        },
    }

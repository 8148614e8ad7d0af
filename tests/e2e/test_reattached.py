"""A plan is held on a volume that is then detached, attached again under another device number, and approved."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import Site, cleanup_result, message, state

FILES = {"a.log": 60.0, "b.log": 60.0, "deep/c.log": 60.0, "new.log": 1.0}


class Disk:
    """An ext4 in a file, mounted at a directory of the node."""

    def __init__(self, directory: Path, at: Path) -> None:
        self._directory = directory
        self.at = at
        self._mounted: list[Path] = []

    def make(self, name: str) -> Path:
        """A fresh file system."""
        image = self._directory / name
        with open(image, "wb") as file:
            file.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        return image

    def mount(self, image: Path, at: Path) -> None:
        """Attach it."""
        at.mkdir(exist_ok=True)
        subprocess.run(["mount", "-o", "loop", image, at], check=True)
        self._mounted.append(at)

    def unmount(self, at: Path) -> None:
        """Detach it; while a pod is ending, as soon as that is gone."""
        subprocess.run(["umount", "--lazy", at], check=True)
        self._mounted.remove(at)

    def close(self) -> None:
        for at in list(self._mounted):
            self.unmount(at)


@pytest.fixture
def disk(cluster: Any, namespace: str, tmp_path: Path) -> Iterator[Disk]:
    directory = Path(cluster.layout.path("volumes", f"{namespace}-disks"))
    directory.mkdir(parents=True)
    made = Disk(tmp_path, directory / "volume")
    yield made
    made.close()
    subprocess.run(["rm", "-rf", "--one-file-system", directory], check=True)


def test_a_plan_that_was_held_before_a_re_attach_is_carried_out_after_it(site: Site, volume: Any, disk: Disk) -> None:
    image = disk.make("image")
    disk.mount(image, disk.at)
    os.chown(disk.at, 65532, 65532)
    data = volume(FILES, path=str(disk.at))
    site.cleanup_policy("backups", data.claim, mode="Enforce", brakes={"maxPercent": 50})
    site.start("large", "CleanupPolicy", "backups")
    run = site.in_state("large", "Held", "Failed", "Succeeded", timeout=90)
    assert state(run) == "Held", message(run)
    before, names = disk.at.stat().st_dev, data.names()

    site.wait_for(lambda: _is_free(site), 60, "the pod that held the plan to be gone from the volume")
    disk.unmount(disk.at)
    disk.mount(disk.make("another"), disk.at.with_name("another"))  # takes the loop device that is free now
    disk.mount(image, disk.at)
    subprocess.run(["chown", "-R", "65532:1234", disk.at / "deep", disk.at / "a.log"], check=True)
    assert disk.at.stat().st_dev != before
    assert data.names() == names

    site.patch("MaintenanceRun", "large", {"spec": {"approve": cleanup_result(run)["planDigest"]}})
    done = site.ended("large")
    assert state(done) == "Succeeded", message(done)
    assert {name for name in data.names() if not name.startswith(".housekeeper/")} == {"new.log"}
    assert cleanup_result(done)["removed"] == 3
    assert [attempt["result"] for attempt in done["status"]["attempts"]] == ["Held", "Succeeded"]
    pods = [attempt["pods"][0]["name"] for attempt in done["status"]["attempts"]]
    assert len(set(pods)) == 2
    _, log = site.api.raw("GET", f"{site.path('Pod', pods[1])}/log")
    assert log.count(b'"event":"removed"') + log.count(b'"event": "removed"') == 3


def _is_free(site: Site) -> bool:
    """Whether no pod of the namespace runs."""
    return all(pod["status"]["phase"] in {"Succeeded", "Failed"} for pod in site.list("Pod"))

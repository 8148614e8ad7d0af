"""File systems made for a scene. Call these in a mount namespace of one's own only (see `scenarios`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KINDS = ("ext4", "xfs", "btrfs", "tmpfs", "overlay")


def run(*command: str | Path) -> None:
    """A command that must succeed. What it says goes to where nobody looks for the scene's answer."""
    subprocess.run(command, check=True, stdout=sys.stderr)


def loop_ext4(directory: Path, *, mebibytes: int = 16, options: str = "loop") -> Path:
    """An ext4 in a file, mounted at `volume` below `directory`."""
    image, volume = directory / "image", directory / "volume"
    with open(image, "wb") as file:
        file.truncate(mebibytes << 20)
    run("mkfs.ext4", "-q", "-F", "-b", "4096", image)
    volume.mkdir(exist_ok=True)
    run("mount", "-o", options, image, volume)
    return volume


def file_system(directory: Path, kind: str) -> Path:
    """A file system of this kind with room for some hundred MiB, mounted at `volume` below `directory`."""
    volume = directory / "volume"
    volume.mkdir(exist_ok=True)
    match kind:
        case "tmpfs":
            run("mount", "-t", "tmpfs", "-o", "size=320M", "tmpfs", volume)
        case "overlay":
            layers = directory / "layers"
            layers.mkdir()
            run("mount", "-t", "tmpfs", "-o", "size=320M", "tmpfs", layers)
            for name in ("lower", "upper", "work"):
                (layers / name).mkdir()
            options = f"lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work"
            run("mount", "-t", "overlay", "overlay", "-o", options, volume)
        case _:
            image = directory / "image"
            with open(image, "wb") as file:
                file.truncate(320 << 20)  # what xfs wants at least
            run(f"mkfs.{kind}", "-q", image)
            run("mount", "-o", "loop", image, volume)
    return volume


def tmpfs(directory: Path, options: str) -> Path:
    """A tmpfs with these options, mounted at `volume` below `directory`."""
    volume = directory / "volume"
    volume.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", options, "tmpfs", volume)
    return volume

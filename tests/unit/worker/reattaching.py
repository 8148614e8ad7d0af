"""A scene with a volume that is detached and attached again, in a mount namespace of its own (see `scenarios`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from housekeeper_api.result import as_dict
from housekeeper_worker.volume.identity import file_system_of
from tests.unit.worker.builders import OLD, as_user, carry_out, cleanup_task, files_below, write

_SIZE = 320 << 20
"""What xfs wants at least."""


def _make(image: Path, kind: str) -> Path:
    with open(image, "wb") as file:
        file.truncate(_SIZE)
    subprocess.run([f"mkfs.{kind}", "-q", image], check=True, capture_output=True)
    return image


def _mount(image: Path, where: Path) -> None:
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, where], check=True)


def _identity(volume: Path) -> str:
    fd = os.open(volume, os.O_RDONLY)
    try:
        return str(file_system_of(fd))
    finally:
        os.close(fd)


def _run(volume: Path, approve: str | None, uid: int) -> dict[str, Any]:
    """An attempt in a process of its own."""
    task = cleanup_task(volume, max_items=0, approve=approve)
    result: dict[str, Any] = as_user(uid, lambda: as_dict(carry_out(task)))
    return result


def reattached(directory: Path, kind: str, uid: int) -> dict[str, Any]:
    """Hold a plan; detach; take the device away; attach; chown -R; first elsewhere, then here, approve."""
    volume, other = directory / "volume", directory / "other"
    image = _make(directory / "image", kind)
    _mount(image, volume)
    for number in range(20):
        write(volume / f"d{number % 3}/f{number}", days=OLD)
    for path in (volume, *volume.glob("d*"), *volume.glob("d*/*")):
        os.chown(path, uid, uid)
    held = _run(volume, None, uid)
    device, identity = volume.stat().st_dev, _identity(volume)
    subprocess.run(["umount", volume], check=True)
    _mount(_make(directory / "second", kind), other)  # which gets the loop device that is free now
    _mount(image, volume)
    subprocess.run(["chown", "-R", f"{uid}:1234", *volume.glob("d*")], check=True)
    told: dict[str, Any] = {
        "held": held,
        "sameDevice": volume.stat().st_dev == device,
        "sameIdentity": _identity(volume) == identity,
        "kind": identity.partition(":")[0],
    }
    # The same tree and the same plan, on another file system.
    subprocess.run(["cp", "-a", f"{volume}/.", other], check=True)
    digest = held["cleanup"]["planDigest"]
    told["elsewhere"], told["leftElsewhere"] = _run(other, digest, uid), _left(other)
    told["approved"], told["left"] = _run(volume, digest, uid), _left(volume)
    return told


def _left(volume: Path) -> int:
    return sum(path.startswith(b"d") for path in files_below(volume))


def main() -> None:
    """Play the scene of the arguments: directory, kind of file system and who the worker is."""
    print(json.dumps(reattached(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))


if __name__ == "__main__":
    main()

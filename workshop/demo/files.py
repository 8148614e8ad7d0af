"""Runs inside a pod: fill a volume with files of many ages, or count what is there. Standard library only.

python3 files.py fill ROOT     a few thousand files, the same ones every time
python3 files.py count ROOT    a table of files by directory and age
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections.abc import Iterator

DAY = 86400.0
AGES = ((1.0, "< 1 d"), (7.0, "1-7 d"), (30.0, "7-30 d"), (90.0, "30-90 d"), (float("inf"), "> 90 d"))
"""Upper bounds in days, and their headings."""


def tree() -> Iterator[tuple[str, float, int]]:
    """Path, age in days and size of every file."""
    chance = random.Random(20)  # noqa: S311 - the same files every time
    for number in range(1500):
        yield f"tmp/job-{number % 40:02}/upload-{number:04}.part", chance.uniform(0.1, 45), chance.randint(200, 6000)
    for number in range(40):
        yield f"tmp/job-{number:02}/.keep", 200, 0
    for number in range(900):
        yield f"cache/{number % 16:x}/{number:04}.bin", chance.uniform(0.5, 60), chance.randint(500, 9000)
    for service in ("api", "worker", "scheduler"):
        yield f"logs/{service}/current.log", 120, 4000
        for number in range(240):
            yield f"logs/{service}/app.log.{number}", number / 4 + 0.2, chance.randint(1000, 8000)
    for profile in range(12):
        for number in range(70):
            yield f"profiles/p{profile:02}/Cache/f_{number:06x}", chance.uniform(0.1, 1.5), chance.randint(300, 5000)
        yield f"profiles/p{profile:02}/Cookies", 100, 2000
        yield f"profiles/p{profile:02}/Crashpad/reports/{profile}.dmp", chance.uniform(1, 60), 3000
    for number in range(600):
        yield f"data/{number // 100}/record-{number:04}.json", chance.uniform(0, 400), chance.randint(200, 3000)


def fill(root: str) -> None:
    """Make the tree below `root`, in place of what an earlier demo left."""
    now = time.time()
    for name in ("tmp", "cache", "logs", "profiles", "data"):
        shutil.rmtree(os.path.join(root, name), ignore_errors=True)
    count = size = 0
    for path, days, length in tree():
        target = os.path.join(root, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(b"." * length)
        os.utime(target, (now - days * DAY, now - days * DAY))
        count, size = count + 1, size + length
    print(f"{count} files, {size / 2**20:.1f} MiB")


def count(root: str) -> None:
    """Print the number of files by top directory and age."""
    now = time.time()
    rows: dict[str, list[int]] = {}
    for parent, _, names in os.walk(root):
        for name in names:
            path = os.path.join(parent, name)
            top = os.path.relpath(path, root).split(os.sep)[0]
            age = (now - os.lstat(path).st_mtime) / DAY
            column = next(index for index, (limit, _) in enumerate(AGES) if age < limit)
            rows.setdefault(top, [0] * len(AGES))[column] += 1
    print("".join([f"{'directory':<12}", *(f"{heading:>9}" for _, heading in AGES), f"{'all':>9}"]))
    rows["together"] = [sum(column) for column in zip(*rows.values(), strict=True)] if rows else [0] * len(AGES)
    for top, numbers in rows.items():
        print("".join([f"{top:<12}", *(f"{number:>9}" for number in numbers), f"{sum(numbers):>9}"]))


if __name__ == "__main__":
    {"fill": fill, "count": count}[sys.argv[1]](sys.argv[2])

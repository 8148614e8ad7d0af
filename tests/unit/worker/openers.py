"""Other processes that have files open, lock directories or hold leases, each until the block ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OTHER_NAMESPACES = ("unshare", "--pid", "--mount", "--fork", "--kill-child")

_HOLD = {
    "reader": "held = open(path, 'rb')",
    "writer": "held = open(path, 'r+b')",
    "appender": "held = open(path, 'ab')",
    "mapping": (
        "import mmap; file = open(path, 'rb'); "
        "held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE); file.close()"
    ),
    "lease": (
        "import fcntl, os, signal; signal.signal(signal.SIGIO, signal.SIG_IGN); held = os.open(path, os.O_RDONLY); "
        "fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)"
    ),
    "exclusive lock": "import fcntl, os; held = os.open(path, os.O_RDONLY); fcntl.flock(held, fcntl.LOCK_EX)",
    "shared lock": "import fcntl, os; held = os.open(path, os.O_RDONLY); fcntl.flock(held, fcntl.LOCK_SH)",
    "path only": "import os; held = os.open(path, os.O_PATH)",
}


@contextlib.contextmanager
def holding(path: Path, how: str, *, namespaces: bool = False, stopped: bool = False) -> Iterator[None]:
    """A process that holds `path`; in pid and mount namespaces of its own, or stopped by SIGSTOP, if wished."""
    script = f"import sys; path = sys.argv[1]; {_HOLD[how]}; print('held', flush=True); sys.stdin.read()"
    command = [*(OTHER_NAMESPACES if namespaces else ()), sys.executable, "-S", "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        if stopped:
            os.kill(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if stopped:
                os.kill(process.pid, signal.SIGCONT)
            process.communicate()

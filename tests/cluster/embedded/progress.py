"""What is happening, and since when, on stderr: nobody should wonder whether a long step still runs."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

_START = time.monotonic()
_REPEAT_SECONDS = 15.0


def say(message: str) -> None:
    """Print one line, with the seconds since the command started in front."""
    print(f"[{time.monotonic() - _START:6.1f}s] {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(message: str) -> Iterator[None]:
    """Say that a step starts, that it still runs (every 15 s), and how long it took where that was a second or more."""
    begin = time.monotonic()
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(_REPEAT_SECONDS):
            say(f"… {message}: {time.monotonic() - begin:.0f} s so far")

    say(message)
    reporter = threading.Thread(target=repeat, name="progress", daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()
    took = time.monotonic() - begin
    if took >= 1.0:
        say(f"{message}: done in {took:.1f} s")

"""Where a worker's process begins: signals first, everything else after.

A worker may be told to stop while it still imports. SIGTERM and SIGINT are blocked at once, so that they wait for the
handlers of `stop` (a blocked signal is kept even for process 1 of a container, which has no default actions), and the
result says `Cancelled`. Earlier than this, while the interpreter itself starts, the default action ends the process:
the pod shares its process namespace, so that the worker is not process 1, which the kernel would shield from it.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Entry point. Ends the process with one of `housekeeper_api.exit_codes`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    from housekeeper_worker.encoding import ensure_utf8  # noqa: PLC0415 - after the line above is the whole point

    ensure_utf8()
    from housekeeper_worker.main import main as work  # noqa: PLC0415 - as above

    work()

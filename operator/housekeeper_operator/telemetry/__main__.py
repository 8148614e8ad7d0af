"""`python -m housekeeper_operator.telemetry reference` prints the table of all metrics."""

from __future__ import annotations

import os
import sys

from housekeeper_operator.telemetry.metrics import Metrics


def main(arguments: list[str]) -> int:
    if arguments != ["reference"]:
        sys.stderr.write("usage: python -m housekeeper_operator.telemetry reference\n")
        return os.EX_USAGE
    sys.stdout.writelines(f"{line}\n" for line in Metrics().reference())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

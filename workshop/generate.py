"""`make generate`: write every file that is made from another one. `make verify` fails while one is out of date."""

from __future__ import annotations

import sys

from workshop import derived
from workshop.project import run


def main() -> int:
    """The API's files first, since the chart's copies are made from them."""
    run(sys.executable, "-m", "housekeeper_api.schema", "write")
    derived.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())

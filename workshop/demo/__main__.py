"""`python -m workshop.demo up|down`. CONTEXT, OPERATOR_IMAGE and WORKER_IMAGE come from the environment."""

from __future__ import annotations

import os
import sys

from workshop.demo import story
from workshop.demo.clusters import DemoCluster, DemoError, EmbeddedCluster, OwnCluster


def main() -> int:
    """Run the demo or remove it; 1 with one line on stderr where that is not possible."""
    context = os.environ.get("CONTEXT", "")
    cluster: DemoCluster = OwnCluster(context) if context else EmbeddedCluster()
    try:
        if sys.argv[1:] == ["up"]:
            story.tell(cluster)
        elif sys.argv[1:] == ["down"]:
            cluster.remove()
        else:
            print("usage: python -m workshop.demo up|down", file=sys.stderr)
            return 2
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

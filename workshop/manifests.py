"""`make manifests`: one YAML with everything, for clusters that are not managed with Helm.

Arguments go to `helm template`, such as `--set imageRegistry=registry.example.com/team`.
"""

from __future__ import annotations

import sys

from workshop import chart


def main() -> int:
    """Write dist/housekeeper.yaml and say how it is applied."""
    path = chart.write_manifests(*sys.argv[1:])
    print(f"{path} is written; install it with: kubectl apply --server-side -f {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

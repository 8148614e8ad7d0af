"""The base image that the project's images are built on here: Debian with Python, made by debootstrap, no registry."""

import hashlib
import os
import shutil
import subprocess
import tempfile

from tests.cluster.embedded import packages
from tests.cluster.embedded.errors import ClusterError
from tests.cluster.embedded.layout import cache_directory
from tests.cluster.embedded.progress import say, step

from .buildah import Store

_SUITE = "bookworm"
_PACKAGES = ("python3", "python3-venv", "ca-certificates")
_UNWANTED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# To be counted up when this file changes what is in the image; the constants above are in the key anyway.
_RECIPE = "2"


def content_key() -> str:
    """A hash of all that decides what is in the image, but for the state of the Debian archive."""
    return hashlib.sha256(" ".join([_RECIPE, _SUITE, *_PACKAGES, *_UNWANTED]).encode()).hexdigest()[:20]


def ensure(store: Store) -> str:
    """The image's name in the store; it is made if it is not there."""
    image = f"localhost/housekeeper-base:{content_key()}"
    if store.has(image):
        return image
    with tempfile.TemporaryDirectory(prefix="base-", dir=os.path.join(cache_directory(), "images")) as scratch:
        root = os.path.join(scratch, "root")
        with step(f"debootstrap {_SUITE} for the base image (1 minute, once)"):
            _debootstrap(root)
        for unwanted in _UNWANTED:
            path = os.path.join(root, unwanted)
            shutil.rmtree(path)
            os.mkdir(path)
        with step("adding the base image"), store.container("scratch") as container:
            store.run("add", container, root, "/")
            store.run("config", f"--env=PATH={_PATH}", "--cmd=python3", container)
            store.run("commit", container, image)
    return image


def _debootstrap(root: str) -> None:
    command = [
        packages.program("debootstrap"),
        "--variant=minbase",
        f"--include={','.join(_PACKAGES)}",
        _SUITE,
        root,
        *_mirror(),
    ]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise ClusterError(f"debootstrap failed:\n{tail}")


def _mirror() -> list[str]:
    """The mirror that this machine's apt uses for Debian itself; debootstrap's default where it names none."""
    command = ["apt-get", "indextargets", "--format", "$(CREATED_BY)|$(ORIGIN)|$(RELEASE)|$(REPO_URI)"]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    for line in result.stdout.splitlines():
        created_by, origin, release, uri = line.split("|", 3)
        if (created_by, origin, release) == ("Packages", "Debian", _SUITE) and uri.startswith(("http://", "https://")):
            return [uri]
    say("apt names no mirror for Debian: taking debootstrap's own")
    return []

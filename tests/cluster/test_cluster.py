"""The embedded cluster itself: what tests and demo build on is there, and nothing of it stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.cluster.embedded import removal
from tests.cluster.embedded.api import Object
from tests.cluster.embedded.artifacts import tools
from tests.cluster.embedded.errors import ApiError
from tests.cluster.embedded.layout import SOURCES, Layout
from tests.cluster.embedded.parts import node, processes
from tests.cluster.running import Cluster, wait_for
from tests.cluster.volumes import File, Volumes

IMAGE = "housekeeper-base:dev"
COMMAND = os.path.join(SOURCES, "cluster")


@pytest.fixture(scope="module", autouse=True)
def _base_image(cluster: Cluster) -> None:
    cluster.load_images("base")


def pod_spec(script: str, claim: str | None = None) -> Object:
    """A pod that Pod Security `restricted` admits, running Python."""
    container: Object = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", script],
        "resources": {"limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if claim is not None:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    return spec


def ended(cluster: Cluster, namespace: str, name: str) -> tuple[str, str]:
    """Phase and log of a pod, once it has ended."""
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"

    def phase() -> str:
        now = cluster.api.get(path)["status"].get("phase", "")
        return now if now in {"Succeeded", "Failed"} else ""

    last = wait_for(phase, 60, f"end of pod {name}")
    _, log = cluster.api.raw("GET", f"{path}/log")
    return last, log.decode()


def run_pod(cluster: Cluster, namespace: str, name: str, script: str, claim: str | None = None) -> tuple[str, str]:
    cluster.api.create(
        f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": name}, "spec": pod_spec(script, claim)}
    )
    return ended(cluster, namespace, name)


def test_a_restricted_pod_works_on_a_volume(cluster: Cluster, namespace: str, volume: Volumes) -> None:
    data = volume({"old.log": 60, "in/new.log": File(age=1, size=5_000), "foreign.log": File(age=1, owner=4711)})
    script = """
import os, time
for directory, _, names in sorted(os.walk("/data")):
    for name in sorted(names):
        s = os.stat(os.path.join(directory, name))
        print(name, round((time.time() - s.st_mtime) / 86400), s.st_size, s.st_uid)
os.unlink("/data/old.log")
"""
    phase, log = run_pod(cluster, namespace, "cleaner", script, data.claim)
    assert (phase, log.splitlines()) == (
        "Succeeded",
        ["foreign.log 1 100 4711", "old.log 60 100 65532", "new.log 1 5000 65532"],
    )
    assert data.names() == {"in/new.log", "foreign.log"}


def test_pod_security_refuses_a_pod_above_restricted(cluster: Cluster, namespace: str) -> None:
    spec = pod_spec("pass")
    spec["securityContext"]["runAsNonRoot"] = False
    with pytest.raises(ApiError, match=r"violates PodSecurity \"restricted"):
        cluster.api.create(f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": "root"}, "spec": spec})


def test_a_suspended_job_runs_when_it_is_unsuspended(cluster: Cluster, namespace: str) -> None:
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    template = {"spec": pod_spec("print('ran')")}
    cluster.api.create(
        jobs, {"metadata": {"name": "queued"}, "spec": {"suspend": True, "backoffLimit": 0, "template": template}}
    )
    wait_for(lambda: "Suspended" in conditions(cluster.api.get(f"{jobs}/queued")), 10, "suspended Job")
    assert cluster.api.items(f"/api/v1/namespaces/{namespace}/pods") == []
    cluster.api.patch(f"{jobs}/queued", {"spec": {"suspend": False}})
    wait_for(lambda: "Complete" in conditions(cluster.api.get(f"{jobs}/queued")), 30, "complete Job")


def conditions(obj: Object) -> set[str]:
    return {c["type"] for c in obj.get("status", {}).get("conditions") or () if c["status"] == "True"}


def test_logs_exec_and_attached_input_work(cluster: Cluster, namespace: str) -> None:
    script = "import time; print('hello', flush=True); time.sleep(300)"
    cluster.api.create(
        f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": "awake"}, "spec": pod_spec(script)}
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/awake", "-n", namespace, "--timeout=30s")
    assert wait_for(lambda: cluster.kubectl("logs", "awake", "-n", namespace).stdout, 10, "log") == "hello\n"
    command = ("python3", "-c", "import sys; print(sys.stdin.read().upper()); sys.exit(3)")
    answer = cluster.kubectl("exec", "-i", "awake", "-n", namespace, "--", *command, check=False, input="through")
    assert answer.stdout == "THROUGH\n"
    assert "exit code 3" in answer.stderr


def test_pods_reach_the_api_by_its_service_and_nothing_beyond_the_cluster(cluster: Cluster, namespace: str) -> None:
    script = """
import os, socket
print(os.environ["KUBERNETES_SERVICE_HOST"])
for address in (("10.96.0.1", 443), ("192.0.2.1", 443)):
    try:
        socket.create_connection(address, timeout=5).close()
        print("connected")
    except OSError as error:
        print(type(error).__name__, error.errno)
"""
    _, log = run_pod(cluster, namespace, "dialler", script)
    host, service, beyond = log.splitlines()
    assert (host, service) == ("10.96.0.1", "connected")
    assert beyond.startswith("OSError")


def test_services_lead_to_other_pods_and_back_to_the_same(cluster: Cluster, namespace: str) -> None:
    server = "import http.server; http.server.test(http.server.SimpleHTTPRequestHandler, port=8000)"
    client = "import urllib.request; print(urllib.request.urlopen('http://{}:80/', timeout=10).status)"
    pods = f"/api/v1/namespaces/{namespace}/pods"
    cluster.api.create(pods, {"metadata": {"name": "server", "labels": {"app": "web"}}, "spec": pod_spec(server)})
    service = cluster.api.create(
        f"/api/v1/namespaces/{namespace}/services",
        {
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8000}]},
        },
    )
    url = f"http://{service['spec']['clusterIP']}:80/"
    wait_for(lambda: answers(cluster, url), 30, "server")
    script = client.format(service["spec"]["clusterIP"])
    assert run_pod(cluster, namespace, "client", script) == ("Succeeded", "200\n")
    itself = cluster.kubectl("exec", "server", "-n", namespace, "--", "python3", "-c", script)
    assert itself.stdout == "200\n"


def answers(cluster: Cluster, url: str) -> bool:
    try:
        return bool(cluster.http(url))
    except OSError:
        return False


def test_a_local_volume_takes_the_group_of_the_pod_and_a_host_path_does_not(
    cluster: Cluster, namespace: str, volume: Volumes
) -> None:
    groups = {}
    for kind in ("local", "hostPath"):
        data = volume({"a": 1}, kind=kind)
        spec = pod_spec("import os; print(os.stat('/data/a').st_gid)", data.claim)
        spec["securityContext"]["fsGroup"] = 4000
        name = f"group-{kind.lower()}"
        cluster.api.create(f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": name}, "spec": spec})
        groups[kind] = ended(cluster, namespace, name)[1].strip()
    assert groups == {"local": "4000", "hostPath": "65532"}


def test_the_audit_log_tells_who_did_what(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "seen", "-n", namespace, "--as=alice", "--as-group=system:masters")
    with open(cluster.audit_log, encoding="utf-8") as file:
        events = [json.loads(line) for line in file if namespace in line and "/configmaps" in line]
    (mine,) = [event for event in events if event.get("impersonatedUser", {}).get("username") == "alice"]
    assert (mine["verb"], mine["objectRef"]["name"], mine["responseStatus"]["code"]) == ("create", "seen", 201)


def test_exec_passes_input_output_and_exit_code(cluster: Cluster) -> None:
    script = 'read line; echo "$line $(kubectl config current-context)"; exit 7'
    result = subprocess.run(
        [COMMAND, "--name", cluster.name, "exec", "--", "sh", "-c", script],
        input="input\n",
        text=True,
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (7, f"input {cluster.layout.identity}\n")


def test_diagnose_collects_objects_events_and_logs(
    cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run_pod(cluster, namespace, "talker", "print('said before the end')")
    target = tmp_path_factory.mktemp("diagnosis")
    result = subprocess.run(
        [COMMAND, "--name", cluster.name, "diagnose", str(target)], text=True, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert (target / "logs" / namespace / "talker" / "main.log").read_text() == "said before the end\n"
    assert f"{namespace} " in (target / "events.txt").read_text()
    assert "talker" in (target / "objects" / "v1" / "pods.json").read_text()
    for name in ("components/kube-apiserver.log", "components/kubelet.log", "node/iptables.txt", "status.txt"):
        assert (target / name).stat().st_size > 0, name
    assert not (target / "FAILED.txt").exists(), (target / "FAILED.txt").read_text()


def test_a_killed_part_comes_back(cluster: Cluster) -> None:
    with cluster.killed("kube-scheduler"):
        assert processes.find(cluster.layout, "kube-scheduler").state == "dead"
    assert processes.find(cluster.layout, "kube-scheduler").state == "running"


CRON = [
    # The controller's parser fires twice in the night that has half past two twice, and never in the one that has none.
    ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]),
    ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", ["2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]),
    ("*/20 * * * *", "", "2026-01-01T00:00:00Z", ["2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z"]),
    ("0 0 30 2 *", "", "2026-01-01T00:00:00Z", None),
]


def test_the_oracle_reads_schedules_as_the_controller_does() -> None:
    questions = [
        {"schedule": schedule, "timeZone": zone, "from": begin, "count": 2} for schedule, zone, begin, _ in CRON
    ]
    questions.append({"schedule": "61 * * * *", "timeZone": "", "from": "2026-01-01T00:00:00Z", "count": 1})
    result = subprocess.run(
        [tools.tool("cron-oracle")],
        input="\n".join(map(json.dumps, questions)),
        text=True,
        capture_output=True,
        check=True,
    )
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer.get("times") for answer in answers] == [times for *_, times in CRON] + [None]
    assert "61" in answers[-1]["error"]


@pytest.fixture
def spare() -> Iterator[Layout]:
    """A second cluster's name, beside the session's own; whatever a test does with it is removed."""
    layout = Layout(f"spare-{os.getpid()}")
    yield layout
    subprocess.run([COMMAND, "--name", layout.name, "down"], check=True, capture_output=True)


def test_a_killed_up_is_cleaned_up_by_the_next_and_down_leaves_nothing(cluster: Cluster, spare: Layout) -> None:
    command = [sys.executable, COMMAND, "--name", spare.name]
    with subprocess.Popen([*command, "up"], stderr=subprocess.DEVNULL) as begun:
        wait_for(lambda: "kubelet" in processes.recorded(spare), 60, "first daemons")
        begun.send_signal(signal.SIGKILL)
    orphans = list(processes.recorded(spare).values())
    assert "running" in {daemon.state for daemon in orphans}

    result = subprocess.run([*command, "up"], text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "its start was not finished" in result.stderr
    assert {daemon.state for daemon in orphans} == {"dead"}
    begin = time.monotonic()
    subprocess.run([*command, "up"], check=True, capture_output=True)
    assert time.monotonic() - begin < 3, "a cluster that is up is kept"

    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "left"},
        "spec": {"containers": [{"name": "c", "image": node.PAUSE_IMAGE, "imagePullPolicy": "Never"}]},
    }
    in_spare = [*command, "exec", "--", "kubectl"]
    subprocess.run(
        [*in_spare, "apply", "-f", "-"], input=json.dumps(manifest).encode(), check=True, capture_output=True
    )
    subprocess.run(
        [*in_spare, "wait", "--for=condition=Ready", "pod/left", "--timeout=30s"], check=True, capture_output=True
    )
    daemons = [*processes.recorded(spare).values(), *processes.matching(["-address", spare.containerd_socket])]

    subprocess.run([*command, "down"], check=True, capture_output=True)
    assert {daemon.state for daemon in daemons} == {"dead"}
    assert not removal.exists(spare)
    assert removal.mounts_below(spare.state) + removal.mounts_below(spare.run) == []
    assert cluster.kubectl("get", "--raw=/readyz").stdout == "ok", "the other cluster is untouched"

"""Operator processes with a journal, for tests that kill, freeze and replace them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.running import Cluster, wait_for


@dataclass(frozen=True)
class Line:
    """One line of the journal: when (CLOCK_MONOTONIC), which process, what."""

    when: float
    pod: str
    what: str


class Process:
    """One of them."""

    def __init__(self, cluster: Cluster, pod: str, journal: Path, log: Path, environment: dict[str, str]) -> None:
        self.pod = pod
        self._log = log
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.runtime.journal_operator", str(journal)],
                env=cluster.environment | environment,
                stderr=stream,
                stdout=stream,
            )

    @property
    def log(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def said(self, message: str) -> bool:
        """Whether it logged this message."""
        return any(line["msg"] == message for line in self.log)

    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return self._probe("/readyz")[0] == 200

    def probe(self, path: str) -> tuple[int, str]:
        """Status and text of one of its URLs."""
        return self._probe(path)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, limit: float) -> int:
        """Its exit code, when it ends; AssertionError if it does not."""
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.pod} did not end within {limit}s") from None

    def end(self) -> None:
        """Make sure that it is gone."""
        self._process.kill()
        self._process.wait()

    def _probe(self, path: str) -> tuple[int, str]:
        port = next((line["port"] for line in self.log if "port" in line), None)
        if port is None:
            return 0, "it does not listen yet"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)


class Processes:
    """All of one test."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._folder = folder
        self._journal = folder / "journal"
        self._journal.touch()
        self._started: list[Process] = []

    def start(self, pod: str, **settings: str) -> Process:
        """Start one; `lease_duration="6s"` becomes HOUSEKEEPER_LEASE_DURATION, `KUBECONFIG` stays what it is."""
        environment = {
            "HOUSEKEEPER_WORKER_IMAGE": "none",
            "HOUSEKEEPER_NAMESPACE": self._namespace,
            "HOUSEKEEPER_POD_NAME": pod,
            "HOUSEKEEPER_HTTP_ADDRESS": "127.0.0.1:0",
        }
        for name, value in settings.items():
            environment[name if name.isupper() else f"HOUSEKEEPER_{name.upper()}"] = value
        log = self._folder / f"{pod}.log"
        self._started.append(Process(self._cluster, pod, self._journal, log, environment))
        return self._started[-1]

    def journal(self) -> list[Line]:
        """What all of them wrote, in order of time."""
        lines = []
        for text in self._journal.read_text().splitlines():
            when, pod, what = text.split(" ", 2)
            lines.append(Line(float(when), pod, what))
        return sorted(lines, key=lambda line: line.when)

    def wrote(self, pod: str, what: str, *, after: float = 0.0) -> bool:
        """Whether this process wrote that, after that time."""
        return any((line.pod, line.what) == (pod, what) and line.when > after for line in self.journal())

    def working(self, process: Process, *, after: float = 0.0, limit: float = 30.0) -> float:
        """Wait until this one works; returns when it began to."""
        wait_for(lambda: self.wrote(process.pod, "works", after=after), limit, f"work of {process.pod}")
        return next(
            line.when
            for line in self.journal()
            if line.pod == process.pod and line.what == "works" and line.when > after
        )

    def turns(self) -> list[str]:
        """Who worked, in order: a name each time that another takes over."""
        pods = [line.pod for line in self.journal() if line.what == "works"]
        return [pod for index, pod in enumerate(pods) if index == 0 or pods[index - 1] != pod]

    def end(self) -> None:
        """Make sure that all are gone."""
        for process in self._started:
            process.end()

"""What we accept as a schedule, the CronJob controller's own parser accepts, and means the same by it."""

from __future__ import annotations

import datetime as dt
import json
import random
from itertools import islice
from typing import Any

import pytest
from cronsim import CronSim

from housekeeper_api.schedules import resolve, validate
from tests.cluster.running import Cluster

START = dt.datetime(2026, 11, 22, 10, 30, tzinfo=dt.UTC)
PARTS = (
    ["*", "*/7", "H", "H/9", "H(10-40)/7", "0", "05", "7-9", "10/25", "1,30", "58-59,3"],
    ["*", "*/5", "H", "H/6", "H(3-5)", "0", "03", "1-23/7", "22/1", "0,12", "H,H(1-2)"],
    ["*", "*/3", "H", "H/10", "H(29-31)", "1", "31", "29-31", "10-20/4", "1,15", "30/1"],
    ["*", "*/5", "H", "H/4", "2", "FEB", "jan-mar", "6/3", "4,6,9,11", "12", "Feb,Apr"],
    ["*", "*/2", "H", "H/3", "0", "SUN", "mon-Fri", "WED/2", "2,4", "6", "5-6"],
)


def schedules(count: int) -> list[str]:
    """Texts that are accepted, the same ones in each session."""
    chance = random.Random("schedules")
    found: dict[str, None] = {}
    while len(found) < count:
        # Half of the fields are a star, as in schedules of people.
        text = " ".join(chance.choice(["*", chance.choice(parts)]) for parts in PARTS)
        try:
            validate(text)
        except ValueError:
            continue
        found[text] = None
    return list(found)


def ask(cluster: Cluster, questions: list[str], count: int) -> list[dict[str, Any]]:
    """The slots that the controller's parser finds for each schedule."""
    lines = [
        json.dumps({"schedule": text, "timeZone": "Etc/UTC", "from": START.isoformat(), "count": count})
        for text in questions
    ]
    return [json.loads(line) for line in cluster.run("cron-oracle", input="\n".join(lines)).stdout.splitlines()]


def test_every_accepted_schedule_means_the_same_to_the_controller_and_to_us(cluster: Cluster) -> None:
    written = schedules(600)
    resolved = [resolve(text, namespace="default", name="x", time_zone="Etc/UTC") for text in written]
    answers = ask(cluster, resolved, 12)
    assert len(answers) == len(resolved)
    for text, schedule, answer in zip(written, resolved, answers, strict=True):
        assert "error" not in answer, (text, schedule, answer)
        ours = [slot.strftime("%Y-%m-%dT%H:%M:%SZ") for slot in islice(CronSim(schedule, START), 12)]
        assert answer["times"] == ours, (text, schedule)


@pytest.mark.parametrize("schedule", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30,31 FEB *"])
def test_what_is_refused_because_it_never_runs_never_runs(cluster: Cluster, schedule: str) -> None:
    with pytest.raises(ValueError, match="would never run"):
        validate(schedule)
    (answer,) = ask(cluster, [schedule], 1)
    assert answer == {}


@pytest.mark.parametrize(
    "schedule", ["0 0 * * 7", "0 22-5 * * *", "0 0 * * SAT-SUN", "60 * * * *", "*/0 * * * *", "0 0 L * *"]
)
def test_what_the_controller_refuses_is_refused(cluster: Cluster, schedule: str) -> None:
    (answer,) = ask(cluster, [schedule], 1)
    assert "error" in answer
    with pytest.raises(ValueError, match=r"."):
        validate(schedule)

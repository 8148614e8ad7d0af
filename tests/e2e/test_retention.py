"""Rules that keep, on a real volume: what stays of each group."""

from __future__ import annotations

import os

import pytest
import yaml

from tests.cluster.embedded.errors import ApiError
from tests.e2e.site import Site, cleanup_result, message, state

EXAMPLE = os.path.join(os.path.dirname(__file__), "..", "..", "examples", "database-dumps.yaml")
WANTED = {"prod": 10, "qa": 5, "dev": 5, "test": 3}


def dumps(count: int) -> dict[str, float]:
    """Dumps of each environment, a day apart, and what looks like dumps and is of none."""
    found: dict[str, float] = {
        f"pg/{environment}-{number:02}.dump": number + 1.0 for environment in WANTED for number in range(count)
    }
    return found | {"pg/latest-prod.dump": 400, "pg/production-1.dump": 400, "prod-00.txt": 400}


def example(claim: str, **changes: object) -> dict[str, object]:
    """The spec of the example, for a claim."""
    with open(EXAMPLE, encoding="utf-8") as file:
        spec = yaml.safe_load(file)["spec"]
    spec["target"]["volume"]["persistentVolumeClaim"]["claimName"] = claim
    return {**spec, "settleTime": "0s", **changes}


def test_each_environment_keeps_its_own(site: Site, volume) -> None:
    files = dumps(12)
    archives = {f"archives/shop-2024{month:02}15.tar.gz": 1.0 for month in range(1, 10)}
    odd = {"archives/shop-latest.tar.gz": 900.0, "archives/shop-20240231.tar.gz": 900.0}
    data = volume(files | archives | odd, owner=65532)
    site.create("CleanupPolicy", "database-dumps", example(data.claim))

    dry = site.run("dry", "CleanupPolicy", "database-dumps")
    assert state(dry) == "Succeeded", message(dry)
    assert data.names() == files.keys() | archives.keys() | odd.keys()
    assert cleanup_result(dry)["removed"] == 25

    site.patch("CleanupPolicy", "database-dumps", {"spec": {"mode": "Enforce"}})
    run = site.run("wet", "CleanupPolicy", "database-dumps")
    assert state(run) == "Succeeded", message(run)
    done = cleanup_result(run)
    left = {f"pg/{environment}-{number:02}.dump" for environment, count in WANTED.items() for number in range(count)}
    stayed = {"pg/latest-prod.dump", "pg/production-1.dump", "prod-00.txt"}
    # Nine archives are nine months: each of them is the newest of its own.
    assert data.names() == left | stayed | archives.keys() | odd.keys()
    assert (done["matched"], done["removed"], done["skipped"]) == (48 + 11, 25, {"unparsable": 2})
    reasons = {one["reason"] for one in done["sample"] if one["decision"] == "Remove"}
    assert reasons <= {f"not among last {count}" for count in WANTED.values()}

    again = site.run("again", "CleanupPolicy", "database-dumps")
    assert cleanup_result(again)["removed"] == 0


def test_an_age_and_a_keep_must_both_agree(site: Site, volume) -> None:
    data = volume({f"{number}.dump": number * 10 + 1 for number in range(6)}, owner=65532)
    rules = [{"name": "dumps", "select": {"include": ["**"]}, "keep": {"last": 4}, "removeOlderThan": "25d"}]
    site.cleanup_policy("both", data.claim, mode="Enforce", rules=rules)
    run = site.run("both", "CleanupPolicy", "both")
    assert state(run) == "Succeeded", message(run)
    assert data.names() == {f"{number}.dump" for number in range(4)}
    assert "older than 25d, not among last 4" in {one["reason"] for one in cleanup_result(run)["sample"]}


def test_a_plan_that_would_leave_nothing_of_a_group_is_held(site: Site, volume) -> None:
    data = volume({"prod-1.dump": 1, "qa-1.dump": 1}, owner=65532)
    rule = {
        "name": "dumps",
        "select": {"include": ["**"]},
        "groupBy": "(?P<env>prod|qa)-.*",
        "keep": {"maxTotalSize": "1", "atLeast": 0},
    }
    site.cleanup_policy("greedy", data.claim, mode="Enforce", rules=[rule])
    site.start("greedy", "CleanupPolicy", "greedy")
    run = site.in_state("greedy", "Held", "Failed", "Succeeded", timeout=90)
    assert state(run) == "Held"
    assert "env=prod and 1 more" in message(run)
    assert {name for name in data.names() if not name.startswith(".housekeeper/")} == {"prod-1.dump", "qa-1.dump"}


def test_an_expression_that_is_none_is_refused_at_admission(site: Site, volume) -> None:
    data = volume({}, owner=65532)
    rule = {"name": "r", "select": {"include": ["**"]}, "groupBy": "(?P<env>x", "keep": {"last": 1}}
    with pytest.raises(ApiError, match="groupBy"):
        site.cleanup_policy("broken", data.claim, rules=[rule])

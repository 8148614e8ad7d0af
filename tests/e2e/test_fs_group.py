"""A worker with an fsGroup: the kubelet must not make every file look freshly changed."""

from __future__ import annotations

import os

from tests.e2e.site import Site, cleanup_result, message, state

GROUP = 2000


def ctimes(root: str) -> dict[str, int]:
    return {
        os.path.join(base, name): os.stat(os.path.join(base, name)).st_ctime_ns
        for base, _, files in os.walk(root)
        for name in files
    }


def test_an_fs_group_leaves_a_volume_that_has_it_already_untouched(site: Site, volume) -> None:
    data = volume({f"d{n % 10}/f{n}.log": 60 for n in range(200)}, owner=65532, group=GROUP, kind="local")
    os.chown(data.path, 65532, GROUP)
    os.chmod(data.path, 0o2770)  # noqa: S103 as the kubelet leaves a volume with an fsGroup
    before = ctimes(data.path)
    site.cleanup_policy("grouped", data.claim, mode="Enforce", pod={"securityContext": {"fsGroup": GROUP}})
    dry = site.run("dry", "CleanupPolicy", "grouped", mode="DryRun")
    assert state(dry) == "Succeeded", message(dry)
    assert ctimes(data.path) == before
    assert cleanup_result(dry)["removed"] == 200
    wet = site.run("wet", "CleanupPolicy", "grouped")
    assert state(wet) == "Succeeded", message(wet)
    assert data.names() == set()


def test_a_dry_run_with_an_fs_group_changes_no_owner(site: Site, volume) -> None:
    data = volume({f"f{n}.log": 60 for n in range(50)}, owner=65532, group=65532, kind="local")
    before = ctimes(data.path)
    site.cleanup_policy("grouped", data.claim, pod={"securityContext": {"fsGroup": GROUP}})
    run = site.run("dry", "CleanupPolicy", "grouped")
    assert state(run) == "Succeeded", message(run)
    assert ctimes(data.path) == before


def test_an_enforcing_run_with_another_fs_group_changes_no_file_either(site: Site, volume) -> None:
    data = volume({f"f{n}.log": 60 if n % 2 else 1 for n in range(50)}, owner=65532, group=65532, kind="local")
    before = ctimes(data.path)
    site.cleanup_policy("grouped", data.claim, mode="Enforce", pod={"securityContext": {"fsGroup": GROUP}})
    run = site.run("wet", "CleanupPolicy", "grouped")
    assert state(run) == "Succeeded", message(run)
    after = ctimes(data.path)
    assert after == {path: changed for path, changed in before.items() if path in after}
    assert len(after) == 25

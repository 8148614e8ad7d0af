"""Pressure: what goes of a plan when a volume is too full, on real file systems of a few MiB and as laws."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housekeeper_api.task import Pressure
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.retention.plan import Cause, Plan
from housekeeper_worker.retention.pressure import (
    Fill,
    Level,
    Need,
    arranged,
    by_age,
    located,
    need,
    shortest_prefix,
    stage_length,
)
from housekeeper_worker.retention.records import Records
from housekeeper_worker.volume.batches import Reader, cuts, length
from tests.unit.worker.builders import carry_out, cleanup_task, files_below, write
from tests.unit.worker.pressing import NEWEST_LAST
from tests.unit.worker.scenarios import scene
from tests.unit.worker.ways import Way

MODULE = "tests.unit.worker.pressing"
NOTHING = Level(0, 0)


def played(name: str, volume: Path, uid: int, *arguments: str) -> dict[str, Any]:
    """What a scene tells in which the worker is this user."""
    return scene(name, volume.parent, *arguments, way=Way(uid), module=MODULE)


def counted(told: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = told["result"]["cleanup"]
    return found


def left_after(count: int) -> list[str]:
    """What is left when so many of the oldest are gone."""
    return sorted(NEWEST_LAST[count:])


@pytest.mark.parametrize(
    ("fill", "wanted"),
    [
        (Fill(Level(80, 100), NOTHING), None),
        (Fill(Level(81, 100), NOTHING), Need(31, 0)),
        (Fill(Level(81, 100), Level(80, 100)), Need(31, 0)),
        (Fill(Level(10, 100), Level(100, 100)), Need(0, 50)),
        (Fill(Level(90, 100), Level(100, 100)), Need(40, 50)),
        (Fill(Level(150, 100), NOTHING), Need(100, 0)),
        (Fill(Level(802, 999), NOTHING), Need(303, 0)),
        (Fill(NOTHING, NOTHING), None),
    ],
)
def test_only_what_is_above_high_must_reach_low(fill: Fill, wanted: Need | None) -> None:
    assert need(Pressure(80, 50, "FileSystem"), fill) == wanted


@given(used=st.integers(0, 2**60), whole=st.integers(1, 2**60), low=st.integers(0, 99))
def test_what_must_become_free_is_enough_and_no_more(used: int, whole: int, low: int) -> None:
    excess = Level(used, whole).excess(low)
    assert not Level(used - excess, whole).above(low)
    assert not excess or Level(used - excess + 1, whole).above(low)


def plan_of(files: list[tuple[int, int, int]]) -> Plan:
    """A plan of files (time, allocated bytes, inode) in three directories; equal inodes are names of one file."""
    plan = Plan()
    cause = plan.add_cause(Cause(0, ("old",), {}))
    names = Counter(inode for _, _, inode in files)
    for directory in range(3):
        records = Records()
        for number, (time, size, inode) in enumerate(files):
            if number % 3 == directory:
                columns = {"inode": inode, "allocated": size, "modified": time, "links": names[inode], "cause": cause}
                records.extend([b"%03d" % number], **{name: [value] for name, value in columns.items()})
        plan.add(b"abc"[directory : directory + 1], records)
    return plan


def rows(plan: Plan) -> list[tuple[int, bytes, int, int, int]]:
    """Time, path, allocated bytes, inode and links of each file, by index."""
    return [
        (
            records.modified[place],
            part.directory + b"/" + name,
            records.allocated[place],
            records.inode[place],
            records.links[place],
        )
        for part in plan.parts
        for records in [plan.records(part)]
        for place, name in enumerate(records.names)
    ]


@pytest.mark.parametrize(("used", "gone", "reaches"), [(88, 10, True), (89, 11, True), (98, 12, False)])
def test_the_worked_example_of_the_documents_is_right(used: int, gone: int, reaches: bool) -> None:
    plan = plan_of([(number, (4 if number in {0, 10, 11} else 1) * 512, number + 1) for number in range(12)])
    wanted = need(Pressure(85, 75, "FileSystem"), Fill(Level(used * 512, 100 * 512), NOTHING))
    assert wanted is not None
    prefix = shortest_prefix(by_age(plan, ()), wanted)
    assert (len(prefix.order), prefix.reaches) == (gone, reaches)


FILES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(1, 30)), max_size=30)
NEEDS = st.builds(Need, st.integers(0, 60_000), st.integers(0, 20)).filter(any)


def freed(plan: Plan, indices: list[int]) -> tuple[int, int]:
    """Bytes and inodes that are free when all of them are gone."""
    files = rows(plan)
    gone = Counter(files[index][3] for index in indices)
    whole = {files[index][3]: files[index][2] for index in indices if gone[files[index][3]] == files[index][4]}
    return sum(whole.values()), len(whole)


def oldest(plan: Plan) -> list[int]:
    """Indices by time and path."""
    return sorted(range(len(plan)), key=rows(plan).__getitem__)


@settings(max_examples=200, deadline=None)
@given(files=FILES, wanted=NEEDS)
def test_the_prefix_is_the_shortest_that_is_enough(files: list[tuple[int, int, int]], wanted: Need) -> None:
    # All names of one file take what the file takes, as a stat says.
    sizes = {inode: size for _, size, inode in files}
    plan = plan_of([(time, sizes[inode], inode) for time, _, inode in files])
    order = oldest(plan)
    prefix = shortest_prefix(by_age(plan, ()), wanted)
    assert list(prefix.order) == order[: len(prefix.order)]
    enough = [
        count
        for count in range(1, len(plan) + 1)
        if all(have >= want for have, want in zip(freed(plan, order[:count]), wanted, strict=True))
    ]
    assert len(prefix.order) == (enough[0] if enough else len(plan))
    assert prefix.reaches == bool(enough)
    assert (prefix.size, prefix.inodes) == freed(plan, list(prefix.order))


@settings(max_examples=200, deadline=None)
@given(files=FILES, wanted=NEEDS, data=st.data())
def test_what_stays_is_in_the_prefix_and_frees_nothing(
    files: list[tuple[int, int, int]], wanted: Need, data: st.DataObject
) -> None:
    plan = plan_of([(time, size, number + 1) for number, (time, size, _) in enumerate(files)])
    stays = set(data.draw(st.lists(st.integers(0, max(0, len(files) - 1)))))
    prefix = shortest_prefix(by_age(plan, ()), wanted, stays)
    assert (prefix.size, prefix.inodes) == freed(plan, [index for index in prefix.order if index not in stays])
    assert list(prefix.order) == oldest(plan)[: len(prefix.order)]
    assert prefix.reaches or len(prefix.order) == len(plan)


def test_a_time_that_a_rule_goes_by_orders_its_files() -> None:
    plan = plan_of([(1, 1, 1), (2, 1, 2)])
    records = Records()
    records.extend(
        [b"a", b"b"], modified=[0, 9], time=[9, 0], links=[1, 1], cause=[plan.add_cause(Cause(7, ("x",), {}))] * 2
    )
    plan.add(b"d", records)
    assert [rows(plan)[index][1] for index in by_age(plan, {7}).order] == [b"d/b", b"a/000", b"b/001", b"d/a"]
    assert [rows(plan)[index][1] for index in by_age(plan, ()).order] == [b"d/a", b"a/000", b"b/001", b"d/b"]


@settings(max_examples=200, deadline=None)
@given(files=FILES, data=st.data(), stage=st.integers(1, 12))
def test_a_plan_is_arranged_stage_by_stage_and_nothing_of_it_changes(
    files: list[tuple[int, int, int]], data: st.DataObject, stage: int
) -> None:
    plan = plan_of(files)
    known = rows(plan)
    order = data.draw(st.permutations(range(len(plan))))[: data.draw(st.integers(0, len(plan)))]
    narrowed = arranged(plan, by_age(plan, ()), order, stage)
    told = rows(narrowed)
    assert len(narrowed) == len(told) == len(order)
    for begin in range(0, len(order), stage):
        assert set(told[begin : begin + stage]) == {known[index] for index in order[begin : begin + stage]}
    reader = Reader(narrowed)
    assert [length(reader.batch(cut)) for cut in cuts(narrowed, stage)] == [
        min(stage, len(order) - begin) for begin in range(0, len(order), stage)
    ]


@given(files=FILES, data=st.data())
def test_files_are_located_by_their_index(files: list[tuple[int, int, int]], data: st.DataObject) -> None:
    plan = plan_of(files)
    indices = data.draw(st.sets(st.integers(0, max(0, len(files) - 1)), max_size=len(files)))
    found = list(located(plan, by_age(plan, ()), indices))
    assert [(index, directory + b"/" + name) for index, directory, name, *_ in found] == [
        (index, rows(plan)[index][1]) for index in sorted(indices)
    ]


@given(count=st.integers(0, 5_000_000))
def test_a_volume_is_looked_at_twenty_to_four_hundred_times(count: int) -> None:
    stage = stage_length(count, 500)
    assert stage <= 500 or stage % 500 == 0
    assert 1 <= stage <= max(1, count)
    assert count // stage <= 400
    assert count < 20 or count // stage >= 10


def test_below_high_nothing_goes_and_above_the_oldest_do(open_volume: Path, uid: int) -> None:
    told = played("oldest_first", open_volume, uid)
    dry, real, again = (counted(told[which]) for which in ("dry", "real", "again"))
    assert told["real"]["left"] == left_after(8)
    assert (real["matched"], real["removed"], real["skipped"]) == (18, 8, {"spared": 10})
    assert told["dry"]["left"] == left_after(0)
    assert {key: dry[key] for key in ("removed", "bytesFreed", "skipped")} == {
        key: real[key] for key in ("removed", "bytesFreed", "skipped")
    }
    assert told["dry"]["result"]["message"].endswith(
        "the file system is 90.0 % full, and without these files 50.0 % full"
    )
    assert told["real"]["result"]["message"].endswith("the file system was 90.0 % full and is 50.0 % full")
    assert (again["removed"], again["skipped"]) == (0, {"spared": 10})
    assert told["again"]["result"]["message"].endswith(
        "the file system is 50.0 % full, not above pressure.highPercent 80"
    )


def test_every_decision_says_what_pressure_made_of_it(open_volume: Path, uid: int) -> None:
    told = played("oldest_first", open_volume, uid)
    heard, again = told["dry"]["heard"], told["again"]["heard"]
    assert heard.keys() == set(NEWEST_LAST)
    for number, name in enumerate(NEWEST_LAST):
        spared = ["SPARED", "spared: what is older brings the volume to 50 %", "older than 12h"]
        assert heard[name] == (["REMOVE", "older than 12h"] if number < 8 else spared)
    assert again["b/01"] == ["SPARED", "spared: the volume is not fuller than 80 %", "older than 12h"]
    sample = {one["path"]: one["decision"] for one in counted(told["dry"])["sample"]}
    assert {name: "Remove" if name in NEWEST_LAST[:8] else "Keep" for name in sample} == sample
    assert {one["decision"] for one in counted(told["again"])["sample"]} == {"Keep"}


def test_inodes_are_as_good_as_bytes(open_volume: Path, uid: int) -> None:
    told = played("out_of_inodes", open_volume, uid)
    # 22 of 23: the root, three directories, 18 files. Eleven are at most half.
    assert told["left"] == left_after(11)
    assert (
        "with 95.6 % of its inodes used and is 0.1 % full with 47.8 % of its inodes used" in told["result"]["message"]
    )


def test_what_was_not_above_high_need_not_reach_low(open_volume: Path, uid: int) -> None:
    told = played("both", open_volume, uid)
    assert told["left"] == left_after(6)


def test_it_ends_early_when_somebody_else_makes_room(open_volume: Path, uid: int) -> None:
    told = played("somebody_else_makes_room", open_volume, uid)
    assert told["left"] == left_after(1)
    assert counted(told)["skipped"] == {"spared": 17}
    assert told["result"]["outcome"] == "Succeeded"


@pytest.mark.parametrize("why", ["held_open", "shared_blocks"])
def test_a_volume_that_does_not_get_emptier_is_not_emptied_for_nothing(
    open_volume: Path, uid: int, file_system_tools: None, why: str
) -> None:
    told = played(why, open_volume, uid)
    done = counted(told)
    assert told["result"]["outcome"] == "PartiallySucceeded"
    assert 0 < done["removed"] <= 4
    assert done["removed"] + done["skipped"]["spared"] == 18
    assert "freed 0 B; the volume does not get emptier, so " in told["result"]["message"]


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_file_system_that_frees_later_is_waited_for(
    open_volume: Path, uid: int, file_system_tools: None, kind: str
) -> None:
    told = played("freed_later", open_volume, uid, kind)
    done = counted(told)
    assert told["result"]["outcome"] == "Succeeded", told["result"]["message"]
    assert told["left"] == left_after(done["removed"])
    assert 0 < done["removed"] < 18
    assert "above pressure.lowPercent" not in told["result"]["message"]


def test_what_is_in_use_stays_and_stands_in_nobody_s_way(open_volume: Path, uid: int) -> None:
    told = played("in_use", open_volume, uid)
    assert told["left"] == sorted([*NEWEST_LAST[:4], *NEWEST_LAST[12:]])
    assert counted(told)["skipped"] == {"inUse": 4, "spared": 6}


def test_pressure_never_lets_go_what_the_rules_keep(open_volume: Path, uid: int) -> None:
    told = played("rules_let_no_more_go", open_volume, uid)
    assert told["real"]["left"] == left_after(7)
    assert told["dry"]["result"]["message"].endswith("still above pressure.lowPercent 50: the rules let no more go")
    assert told["real"]["result"]["message"].endswith(
        "above pressure.lowPercent 50: wanted 8.0 MiB, freed 7.0 MiB; the rules let no more go"
    )
    assert told["real"]["result"]["outcome"] == "Succeeded"


def test_brakes_judge_what_goes(open_volume: Path, uid: int) -> None:
    told = played("brakes", open_volume, uid)
    assert {name: one["result"]["outcome"] for name, one in told.items()} == {
        "44": "Held",
        "45": "Succeeded",
        "emptying": "Succeeded",
        "emptied": "Held",
    }
    assert counted(told["44"])["skipped"] == {"held": 8, "spared": 10}
    assert "nothing would be left of what rule old keeps" in told["emptied"]["result"]["message"]


def test_a_claim_is_as_full_as_what_lies_below_its_root(open_volume: Path, uid: int) -> None:
    """Each file once, whatever its names, and without what is Housekeeper's own."""
    told = played("claim", open_volume, uid)
    assert told["enough"]["result"]["message"].endswith("the claim is 60.0 % full, not above pressure.highPercent 80")
    # The oldest has another name, which no rule takes: it frees nothing, so that one more goes.
    assert told["real"]["left"] == sorted([".housekeeper/plans/x", "another name", *NEWEST_LAST[9:]])
    assert told["real"]["result"]["message"].endswith("the claim was 90.0 % full and is 50.0 % full")
    assert counted(told["dry"])["bytesFreed"] == counted(told["real"])["bytesFreed"] == 8 << 20


def test_a_claim_of_unknown_size_cannot_be_relieved(volume: Path) -> None:
    write(volume / "a", days=40)
    with pytest.raises(CouldNotRun, match="nobody knows how large that is"):
        carry_out(cleanup_task(volume, pressure=Pressure(80, 50, "Claim")))
    assert files_below(volume) == {b"a"}

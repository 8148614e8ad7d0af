"""Groups, their order, and times that are written in names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest

from housekeeper_api.task import GroupKeep, Keep, Rule, TaskError
from housekeeper_worker.retention.groups import Grouping, words
from housekeeper_worker.retention.name_times import reader
from housekeeper_worker.retention.times import zone
from housekeeper_worker.volume.names import matching_form

ENVIRONMENTS = r"(?:.*/)?(?P<env>prod|qa|dev)[-_][^/]*"


def grouping(expression: str | None, keep: Keep | None = None, per_group: Sequence[GroupKeep] = ()) -> Grouping:
    return Grouping(Rule("r", ("**",), (), group_by=expression, keep=keep, keep_per_group=tuple(per_group)), "rules[0]")


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("prod-1.dump", {"env": "prod"}),
        ("a/b/qa_1.dump", {"env": "qa"}),
        ("latest-prod", None),  # an environment somewhere in the name is no group
        ("latest-prod-1.dump", None),
        ("production-1.dump", None),
        ("prod-1/x.dump", None),
        ("prod", None),
        ("prod-\n\udcff.dump", {"env": "prod"}),
    ],
)
def test_the_whole_path_must_match(path: str, values: dict[str, str] | None) -> None:
    groups = grouping(ENVIRONMENTS)
    number = groups.find(matching_form(path))
    assert (None if number is None else groups.values(number)) == values


def test_groups_are_told_apart_by_their_named_captures_alone() -> None:
    groups = grouping(r"(?P<host>[^/]*)/(?P<db>[^/]*)-([0-9]+)(?P<full>-full)?")
    found = [groups.find(path) for path in (b"a/x-1", b"a/x-2", b"b/x-1", b"a/x-3-full")]
    assert found == [0, 0, 1, 2]
    assert groups.values(0) == {"host": "a", "db": "x", "full": ""}
    assert words(groups.values(2)) == "host=a, db=x, full=-full"


def test_without_an_expression_all_is_one_group() -> None:
    groups = grouping(None, Keep(last=2))
    assert (groups.find(b"anything"), groups.values(0), groups.selects) == (0, {}, False)
    assert groups.keep(0) == Keep(last=2)


def test_the_first_match_replaces_keep() -> None:
    groups = grouping(
        ENVIRONMENTS,
        Keep(last=5),
        [
            GroupKeep({"env": "prod"}, Keep(last=10)),
            GroupKeep({"env": "prod"}, Keep(last=1)),
            GroupKeep({"env": "qa", "host": "x"}, Keep(last=1)),
        ],
    )
    kept = [groups.keep(groups.find(path) or 0) for path in (b"prod-1", b"qa-1", b"dev-1")]
    assert kept == [Keep(last=10), Keep(last=5), Keep(last=5)]


def test_an_expression_that_is_none_names_its_field() -> None:
    with pytest.raises(TaskError, match=r"spec\.rules\[0\]\.groupBy: .*RE2"):
        grouping("(?P<env>prod")


def ns(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("format_", "path", "time"),
    [
        ("%Y%m%d-%H%M%S", "prod-20260115-030000.dump", "2026-01-15T03:00:00+01:00"),
        ("%Y%m%d-%H%M%S", "20260115-030000", "2026-01-15T03:00:00+01:00"),
        ("%Y%m%d-%H%M%S", "prod-20260115.dump", None),
        ("%Y%m%d-%H%M%S", "20260115-030000/prod.dump", None),  # the name, not the directory
        ("%Y%m%d", "x-120260115", None),  # part of a longer number
        ("%Y%m%d", "x-202601150", None),
        ("%Y%m%d", "x-20260230", None),
        ("%Y%m%d", "x-20261301", None),
        ("%Y%m%d", "x-20260101-to-20260131", None),  # which one?
        ("%Y%m%d", "x-20260131-20260131", "2026-01-31T00:00:00+01:00"),
        ("to-%Y%m%d", "x-20260101-to-20260131", "2026-01-31T00:00:00+01:00"),
        ("%Y/%m/%d/", "2026/01/15/x.dump", "2026-01-15T00:00:00+01:00"),
        ("%Y-%m", "report-2026-02.csv", "2026-02-01T00:00:00+01:00"),
        ("%y%j", "log.24366.gz", "2024-12-31T00:00:00+01:00"),
        ("%y%j", "log.25366.gz", None),
        ("%d%b%Y", "x-15Jan2026", "2026-01-15T00:00:00+01:00"),
        ("%d%b%Y", "x-15Jno2026", None),
        ("%Y%m%dT%H%M%S%z", "x-20260115T030000Z", "2026-01-15T03:00:00+00:00"),
        ("%Y%m%dT%H%M%S%z", "x-20260115T030000+0530", "2026-01-15T03:00:00+05:30"),
        ("%Y%m%dT%H%M%S%z", "x-20260115T030000-05:00", "2026-01-15T03:00:00-05:00"),
        ("@%s", "core.@1700000000.1", "2023-11-14T22:13:20+00:00"),
        ("100%%-%Y", "100%-2026", "2026-01-01T00:00:00+01:00"),
        ("%Y%m%d%H%M", "202610250230", "2026-10-25T02:30:00+01:00"),  # twice there: the later
        ("%Y%m%d%H%M", "202603290230", "2026-03-29T03:30:00+02:00"),  # never there: the later reading
        ("%Y%m%d%H%M%S", "20161231235960", "2016-12-31T23:59:59+01:00"),  # a leap second
        ("%Y%m%d", "x-99991231", None),  # beyond what a time of a file can be
        ("%Y%m%d", "x-\u0662\u0660\u0662\u0666\u0660\u0661\u0661\u0665", None),
        ("%Y%m%d", "", None),
    ],
)
def test_a_time_is_read_from_a_name_or_it_is_not(format_: str, path: str, time: str | None) -> None:
    found = reader(format_, zone("Europe/Berlin"))(path)
    assert found == (None if time is None else ns(time))


@pytest.mark.parametrize(
    "format_", ["", "x", "%m%d", "%Q%Y", "%Y%Y", "%Y%", "%Y%y", "%Y%j%d", "%Y%s", "%Y%H%S", "%Y%d"]
)
def test_a_format_that_says_no_time_is_refused(format_: str) -> None:
    with pytest.raises(TaskError, match=r"time\.format"):
        reader(format_, dt.UTC)

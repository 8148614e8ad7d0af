"""Which rule takes a file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcmatch import glob as wcglob

from housekeeper_api.task import Rule, TaskError
from housekeeper_worker.retention.select import Selector
from housekeeper_worker.volume.names import matching_form
from tests.unit.worker.builders import rule
from tests.unit.worker.matching import owner, selects


@pytest.mark.parametrize(
    ("path", "number"),
    [("a.dump", 1), ("keep/a.dump", 2), ("keep/a.log", 0), ("x/keep/a.dump", 2), ("a.log", 0)],
)
def test_first_rule_that_takes_a_file_has_it(path: str, number: int) -> None:
    rules = [
        rule("dumps", include=["**/*.dump"], exclude=["**/keep/**"]),
        rule("rest", include=["**/*.dump", "**/never"]),
        rule("too-late", include=["**/a.dump"]),
    ]
    assert owner(rules, path) == number


def test_exclude_wins_over_include() -> None:
    assert not selects(["**", "a/b"], ["a/b"], "a/b")


@pytest.mark.parametrize(
    ("glob", "path"),
    [("keep", "keep/a/b"), ("**/keep", "x/keep/a"), ("a/*", "a/b/c/d"), ("*.d", "x.d/y"), ("**/k[ae]ep", "x/kaep/y")],
)
def test_a_directory_that_is_excluded_is_so_with_everything_in_it(glob: str, path: str) -> None:
    """As restic, borg, rsync and Git have it: who names a directory means what is in it."""
    assert not selects(["**"], [glob], path)
    assert selects(["**"], [f"{glob}.x"], path)


@pytest.mark.parametrize(
    ("include", "exclude", "entered"),
    [
        (["logs/**"], [], {"logs"}),
        (["**/*.log"], ["data/**"], {"logs", "tmp"}),
        (["*.log"], [], set()),
        (["l*/a/*.log", "tmp/x"], [], {"logs", "tmp"}),
        (["**"], ["**/data/**"], {"logs", "tmp"}),
        (["**"], ["data"], {"logs", "tmp"}),
        (["**"], ["**/{data,tmp}"], {"logs"}),
        (["**"], ["data/x"], {"logs", "data", "tmp"}),
    ],
)
def test_directories_in_which_nothing_can_match_are_not_entered(
    include: list[str], exclude: list[str], entered: set[str]
) -> None:
    scope = Selector([rule(include=include, exclude=exclude)]).root
    assert scope is not None
    assert {name for name in ("logs", "data", "tmp") if scope.below(name) is not None} == entered


def test_rules_that_exclude_everything_leave_nothing_to_enter() -> None:
    assert Selector([rule(exclude=["**"])]).root is None


@pytest.mark.parametrize("name", [b"caf\xe9.dump", b"\xff\xfe", b"a\nb", b"x" * 255, b"-rf", b" ", b"a\\b"])
def test_any_name_matches_a_star_and_its_own_length_in_question_marks(name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")
    assert selects(["*"], [], text)
    assert selects(["?" * len(text)], [], text)
    assert not selects(["?" * (len(text) + 1)], [], text)


def test_bytes_that_are_no_text_become_private_characters() -> None:
    assert matching_form("a\udcff") == "a\U0010ffff".encode()


def test_a_wrong_glob_is_named_with_its_place() -> None:
    with pytest.raises(TaskError, match=r"spec.rules\[1\].select.exclude\[0\]: '/x' begins with a slash"):
        Selector([rule(), rule(exclude=["/x"])])


NAMES = st.text(alphabet="ab.x", min_size=1, max_size=3).filter(lambda name: name not in {".", ".."})
GLOBS = st.lists(st.sampled_from(["**", "*", "a", "b*", "*.x", "?", "*a*", "[ab]?"]), min_size=1, max_size=3).map(
    "/".join
)
RULES = st.lists(
    st.builds(
        lambda include, exclude: Rule("rule", tuple(include), tuple(exclude), "1d"),
        st.lists(GLOBS, min_size=1, max_size=3),
        st.lists(GLOBS, max_size=2),
    ),
    min_size=1,
    max_size=3,
)


def expected_owner(rules: list[Rule], path: str) -> int:
    flags = wcglob.GLOBSTAR | wcglob.DOTGLOB
    for number, one in enumerate(rules, start=1):
        above = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 2)]
        if any(wcglob.globmatch(path, glob, flags=flags) for glob in one.include) and not any(
            wcglob.globmatch(part, glob, flags=flags) for glob in one.exclude for part in above
        ):
            return number
    return 0


@settings(max_examples=200, deadline=None)
@given(
    rules=RULES,
    directory=st.lists(NAMES, max_size=3),
    names=st.lists(NAMES, min_size=1, max_size=12, unique=True),
)
def test_names_looked_at_together_are_taken_as_each_path_by_itself(
    rules: list[Rule], directory: list[str], names: list[str]
) -> None:
    scope = Selector(rules).root
    for component in directory:
        scope = None if scope is None else scope.below(component)
    taken = [0] * len(names) if scope is None else list(scope.owners(names))
    assert taken == [expected_owner(rules, "/".join([*directory, name])) for name in names]

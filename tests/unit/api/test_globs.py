"""What a glob matches: a table, and wcmatch's answers for whatever hypothesis thinks of."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st
from wcmatch import glob as wcglob

from housekeeper_api.globs import GlobError, parse
from tests.unit.worker.matching import selects

TABLE = [
    ("**", "a", True),
    ("**", "a/b/c", True),
    ("*", "a", True),
    ("*", ".hidden", True),
    ("*", "a/b", False),
    ("**/*.dump", "x.dump", True),
    ("**/*.dump", ".a/.b/.x.dump", True),
    ("**/*.dump", "x.dump.gz", False),
    ("dir/**", "dir/a/b", True),
    ("dir/**", "dir", False),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("a/**/b", "ab", False),
    ("a**b", "axxb", True),
    ("a**b", "a/b", False),
    ("?", "é", True),
    ("??", "é", False),
    ("[a-c]x", "bx", True),
    ("[!a-c]x", "bx", False),
    ("[^a-c]x", "dx", True),
    ("[]a]", "]", True),
    ("[a-]", "-", True),
    ("[[:digit:]]", "7", True),
    ("[[:digit:]]", "x", False),
    ("[", "[", True),
    ("a\\*", "a*", True),
    ("a\\*", "ab", False),
    ("*.{gz,xz}", "a.xz", True),
    ("*.{gz,xz}", "a.zst", False),
    ("{a,b/c}/*", "b/c/d", True),
    ("a{}b", "a{}b", True),
    ("\\{a,b\\}", "{a,b}", True),
    ("a//b", "a/b", True),
    ("a/{,x}/b", "a/b", True),
    ("x\ny", "x\ny", True),
    ("*", "x\ny", True),
    ("[!a]", "\n", True),
    ("*.Dump", "x.dump", False),
]


@pytest.mark.parametrize(("glob", "path", "expected"), TABLE)
def test_matches_as_documented(glob: str, path: str, expected: bool) -> None:
    assert selects([glob], [], path) is expected


@pytest.mark.parametrize(
    ("glob", "sentence"),
    [
        ("", "is empty"),
        ("/var/log/*", "begins with a slash"),
        ("logs/", "write logs/** for everything below"),
        ("../*", "has a . or .. component"),
        ("./*", "has a . or .. component"),
        ("a\\", "backslash"),
        ("[z-a]", "wrong way round"),
        ("[[:colour:]]", "unknown class"),
        ("{1..9}.log", "range in braces"),
        ("{a,b}" * 9, "more than 256"),
    ],
)
def test_says_what_is_wrong_with_a_glob_that_means_nothing(glob: str, sentence: str) -> None:
    with pytest.raises(GlobError, match=sentence.replace("*", r"\*")):
        parse(glob)


NAMES = st.text(alphabet="ab.é-]^!x\n", min_size=1, max_size=4).filter(
    # No entry of a directory is called . or .. ; and to wcmatch a newline at the end is not part of the name there.
    lambda name: name.rstrip("\n") not in {".", ".."}
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
CLASSES = st.builds(
    lambda sign, members, tail: f"[{sign}{members}{tail}]",
    st.sampled_from(["", "!", "^"]),
    st.text(alphabet="abx.é", min_size=1, max_size=3),
    st.sampled_from(["", "a-x", "-"]),
)
PIECES = st.one_of(st.sampled_from(["*", "?", "**", "a", "b", ".", "é", "\\*", "\\a", "-", "x"]), CLASSES)
COMPONENTS = st.one_of(st.just("**"), st.lists(PIECES, min_size=1, max_size=4).map("".join)).filter(
    lambda part: part not in {".", ".."}
)
GLOBS = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)
FLAGS = wcglob.GLOBSTAR | wcglob.DOTGLOB


@settings(max_examples=400, deadline=None)
@given(glob=GLOBS, path=PATHS)
def test_agrees_with_wcmatch(glob: str, path: str) -> None:
    assert selects([glob], [], path) == wcglob.globmatch(path, glob, flags=FLAGS)


@settings(max_examples=150, deadline=None)
@given(
    parts=st.lists(st.sampled_from(["a", "*", "{a,b}", "{x,*b}", "/", "{a,{b,x}}", "{,a}"]), min_size=1, max_size=5),
    path=PATHS,
)
def test_braces_agree_with_wcmatch(parts: list[str], path: str) -> None:
    glob = f"a/{''.join(parts)}b".replace("//", "/")
    assert selects([glob], [], path) == wcglob.globmatch(path, glob, flags=FLAGS | wcglob.BRACE)


@settings(max_examples=150, deadline=None)
@given(glob=st.text(alphabet="ab*?[]!^-{},\\/:.é", min_size=1, max_size=12))
def test_any_text_is_a_glob_or_refused_with_a_sentence(glob: str) -> None:
    try:
        globs = parse(glob)
    except GlobError:
        globs = ()
    for components in globs:
        for component in components:
            re2.compile(component.expression)

"""The documents are whole, and what checks them finds what is broken."""

from __future__ import annotations

import pytest

from workshop import documents
from workshop.documents import Block
from workshop.project import read


def test_every_link_and_every_block_of_the_documents_holds() -> None:
    assert documents.problems() == []


def test_every_example_is_listed() -> None:
    listed = read("examples/README.md")
    for path in documents.tracked_files():
        if path.startswith("examples/") and path.endswith(".yaml"):
            assert f"]({path.removeprefix('examples/')})" in listed, path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](docs/rbac.md)", 0),
        ("[a](docs/rbac.md#worker-pods)", 0),
        ("[a](docs/rbac.md#nowhere)", 1),
        ("[a](docs/missing.md)", 1),
        ("[a](https://example.com/x)", 0),
        ("```\n[a](docs/missing.md)\n```\n", 0),
    ],
)
def test_broken_links_are_found(text: str, found: int) -> None:
    assert len(documents.broken_links("README.md", text)) == found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "not YAML"),
        ("apiVersion: housekeeper.dev/v1alpha1\nkind: Cleaning\n", "no kind is called Cleaning"),
        (
            (
                "apiVersion: housekeeper.dev/v1alpha1\nkind: MaintenanceRun\nmetadata: {name: a, namespace: b}\n"
                "spec: {policyRef: {kind: CleanupPolicy, name: a}, mode: Maybe}\n"
            ),
            "spec.mode",
        ),
        ("# values.yaml\nreplicas: many\n", "replicas"),
        ("# values.yaml\nnothing: 1\n", "nothing"),
    ],
)
def test_wrong_blocks_are_found(text: str, sentence: str) -> None:
    (problem,) = documents.invalid(Block("README.md", 7, text))
    assert problem.startswith("README.md:7: ")
    assert sentence in problem


def test_blocks_are_found_with_their_line_also_where_they_are_indented() -> None:
    text = "text\n\n- item\n\n  ```yaml\n  a: 1\n  b:\n    c: 2\n  ```\n"
    assert list(documents.blocks("x.md", text)) == [Block("x.md", 5, "a: 1\nb:\n  c: 2\n")]

"""The pinned requirements hold what pyproject.toml asks for, and the images' files hold no more than they should."""

from __future__ import annotations

import pytest

from workshop import requirement_files
from workshop.project import read


def test_the_files_are_as_pyproject_says() -> None:
    assert requirement_files.problems() == []


@pytest.mark.parametrize("package", ["kopf", "kubernetes", "aiohttp", "pip", "setuptools"])
def test_the_worker_image_carries_no(package: str) -> None:
    assert package not in requirement_files.pins(read("requirements/worker.txt"))


@pytest.mark.parametrize("package", ["psutil", "typer", "pytest", "pip", "setuptools"])
def test_the_operator_image_carries_no(package: str) -> None:
    assert package not in requirement_files.pins(read("requirements/operator.txt"))


def test_extras_are_followed() -> None:
    optional = {"one": ["housekeeper[two]", "a>=1"], "two": ["B_b>=2"]}
    assert {str(found) for found in requirement_files.wanted(("one",), optional)} == {"a>=1", "B_b>=2"}


def test_pins_are_read_with_markers_and_under_one_spelling() -> None:
    text = "A.b==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n    # via c\nc[x]==2\n"
    assert requirement_files.pins(text) == {"a-b": ["1.0"], "c": ["2"]}

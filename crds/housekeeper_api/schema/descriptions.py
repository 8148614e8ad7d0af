"""Descriptions of fields: the docstrings that follow them in the source.

Read here, once, with the syntax tree: pydantic can do it too, but would read every file at each start of the operator.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys


def class_description(cls: type) -> str:
    """First paragraph of a class's docstring on one line, else that of the nearest base that has one."""
    return _one_line(inspect.getdoc(cls) or "")


def field_description(cls: type, attribute: str) -> str:
    """The docstring after an attribute, in the class or in a base of it; empty if there is none."""
    for base in cls.__mro__:
        if (text := _attribute_docstrings(base.__module__).get((base.__name__, attribute))) is not None:
            return _one_line(text)
    return ""


@functools.cache
def _attribute_docstrings(module: str) -> dict[tuple[str, str], str]:
    path = getattr(sys.modules[module], "__file__", None)
    if path is None or not path.endswith(".py"):
        return {}
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    found = {}
    for cls in ast.walk(tree):
        if not isinstance(cls, ast.ClassDef):
            continue
        for statement, following in zip(cls.body, cls.body[1:], strict=False):
            name = _assigned_name(statement)
            if (
                name is not None
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            ):
                found[cls.name, name] = following.value.value
    return found


def _assigned_name(statement: ast.stmt) -> str | None:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return None


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", inspect.cleandoc(text).split("\n\n")[0]).strip()

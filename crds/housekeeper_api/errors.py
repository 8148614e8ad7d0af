"""What can be wrong with a resource.

ResourceError
└── InvalidResource   the user's mistake: each problem names the field and says what to write
"""

from __future__ import annotations

from collections.abc import Iterable


class ResourceError(Exception):
    """Base of all errors of this package about resources."""


class InvalidResource(ResourceError):
    """A resource that cannot be carried out as it is written. Its text is one sentence per problem, joined by "; "."""

    problems: tuple[str, ...]
    """Each `path.to.field: sentence`."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))

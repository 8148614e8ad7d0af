"""How the worker of a scene works: who it is, and by which calls it opens directories."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

from housekeeper_api.result import Result, as_dict
from housekeeper_api.task import Task
from housekeeper_worker.errors import WorkerError
from tests.unit.worker.builders import as_user, carry_out, give
from tests.unit.worker.confinement import UID
from tests.unit.worker.seccomp import OPENAT2, forbid

COMPONENT_WISE, CONFINED = "component-wise", "confined"


@dataclasses.dataclass(frozen=True)
class Way:
    """Every run is in a process of its own, which is root, or confined as in a pod.

    Component-wise, root prefers to open directories so; the confined one has a profile that knows no openat2.
    """

    uid: int = 0
    component_wise: bool = False
    refused: tuple[int, ...] = ()
    """Numbers of system calls that fail besides, with `answer`."""
    answer: int = errno.EPERM

    @classmethod
    def of(cls, words: list[str]) -> Way:
        """As the arguments of a scene say it."""
        return cls(UID if CONFINED in words else 0, COMPONENT_WISE in words)

    @classmethod
    def apart(cls, words: list[str]) -> tuple[Way, list[str]]:
        """The same, and the arguments that say something else."""
        return cls.of(words), [word for word in words if word not in {COMPONENT_WISE, CONFINED}]

    def words(self) -> list[str]:
        """Arguments of a scene."""
        return [*([CONFINED] if self.uid else []), *([COMPONENT_WISE] if self.component_wise else [])]

    def without(self, *refused: int, answer: int) -> Way:
        """The same where these system calls fail."""
        return dataclasses.replace(self, refused=refused, answer=answer)

    def give(self, *paths: Path) -> None:
        """Let all that is below these belong to the worker, so that no want of permission protects it."""
        for path in paths:
            give(path, self.uid)

    def clean(self, task: Task, **options: Any) -> dict[str, Any]:
        """The result of a clean-up."""
        return self.run(lambda: carry_out(task, prefer_fallback=self.component_wise, **options))

    def run(self, act: Callable[[], Result]) -> dict[str, Any]:
        """The result of a run; `{"error": …}` of one that could not be."""
        return self.tell(lambda: as_dict(act()))

    def tell(self, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The same of a run that tells more than its result, as JSON has it."""

        def told() -> dict[str, Any]:
            if self.uid and self.component_wise:
                forbid(OPENAT2, answer=errno.EPERM)
            if self.refused:
                forbid(*self.refused, answer=self.answer)
            try:
                return act()
            except WorkerError as error:
                return {"error": str(error)}

        answer: dict[str, Any] = as_user(self.uid, told)
        return answer

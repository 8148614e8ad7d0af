"""A plan carried out by several processes, batch by batch.

Whatever is written down passes through the first process: it announces a batch before anybody has it, and adds the
lines about its files when they come. A file with several names has them all removed by the first process, because only
who removed one knows how that changed the others.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple, Self

from housekeeper_worker.crew.channel import Channel
from housekeeper_worker.crew.crew import Crew, Member
from housekeeper_worker.errors import AuditLost, MemberLost
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.batches import Batch, Cut, Reader, files
from housekeeper_worker.volume.locking import locked
from housekeeper_worker.volume.outcomes import Outcomes
from housekeeper_worker.volume.remover import Remover
from housekeeper_worker.volume.root import VolumeRoot

_AHEAD: Final = 2
"""Batches that each of the others has, so that it need not wait for the first process between them."""
_SLICE_SECONDS: Final = 0.1


class Lock(Enum):
    """What became of the lock of a directory whose files may be in several batches."""

    HELD = "held"
    OF_NOBODY = "of nobody"
    """Not asked for: the directories of the batch are in no other, and whoever has it locks them."""
    REFUSED = "refused"
    """Somebody else has it. Should he give it back, one process must have all batches of the directory."""


class Job(NamedTuple):
    """A batch to work on, as it is passed on."""

    cut: Cut
    stamp: str
    looked_at: int
    """Files of a rehearsal whose openers are looked for."""
    has_lock: bool
    tells: bool
    """Whether lines about its files are wanted."""


class Done(NamedTuple):
    """What became of a batch."""

    tally: Tally
    text: str
    """Lines about its files."""
    counts: Counter[str]
    """How many files there were of each event."""
    left: int = 0
    """Files of the batch that were not come to, because whoever had it was told to end."""


Perform = Callable[[Remover, Batch, Job], None]


class Acting:
    """The first process's side. Use it in a `with` statement."""

    def __init__(
        self,
        root: VolumeRoot,
        plan: Plan,
        tally: Tally,
        stop: Stop,
        processes: int,
        remover: Callable[[], Remover],
        perform: Perform,
        tell: Callable[[str, Counter[str]], None],
        *,
        locks: bool,
    ) -> None:
        """`tell` takes lines about files, and their counts; `locks`: whether directories are to be locked."""
        self._root = root
        self._plan = plan
        self._tally = tally
        self._stop = stop
        self._reader = Reader(plan)
        self._remover = remover()
        self._perform = perform
        self._tell = tell
        self._crew = Crew(stop)
        self._running: dict[Member, deque[Job]] = {}
        self._locks = _Locks(root) if locks else None
        self._lost: AuditLost | None = None
        self._processes = processes
        self._new_remover = remover

    def __enter__(self) -> Self:
        self._crew.hire(self._processes - 1, self._work)
        self._running = {member: deque() for member in self._crew.members}
        return self

    def __exit__(self, *_: object) -> None:
        with self._crew:
            if self._locks is not None:
                self._locks.close()

    @property
    def must_end(self) -> bool:
        """Whether no further batch is to be begun."""
        return self._stop.reason is not None or bool(self._tally.stopped_by_fault)

    def batch(self, cut: Cut) -> Batch:
        """The files of a cut."""
        return self._reader.batch(cut)

    def take(self, cut: Cut, stamp: str, looked_at: int, *, tells: bool) -> None:
        """Have a batch worked on, by whoever is free. It has been announced. Raises `AuditLost`.

        `tells`: whether lines about its files are wanted.
        """
        self._listen(0.0)
        self._complain()  # before anybody has the batch: what follows a lost audit is announced nowhere
        if self.must_end:
            return
        lock = Lock.OF_NOBODY if self._locks is None else self._locks.take(cut, self._plan)
        job = Job(cut, stamp, looked_at, lock is Lock.HELD, tells)
        free = [one for one, jobs in self._running.items() if len(jobs) < _AHEAD and not one.channel.ended]
        if free and lock is not Lock.REFUSED and not self._plan.parts[cut[0].part].linked:
            member = min(free, key=lambda one: len(self._running[one]))
            self._running[member].append(job)
            member.channel.put(("do", job))
            return
        outcomes = self._begun(self._remover, job)
        self._perform(self._remover, self.batch(cut), job)
        self._is_done(job, Done(outcomes.tally, *outcomes.take_lines()))
        self._complain()

    @staticmethod
    def _begun(remover: Remover, job: Job) -> Outcomes:
        """Where what becomes of a batch is counted and told, with nothing of another in it."""
        remover.outcomes.stamp, remover.outcomes.tells = job.stamp, job.tells
        remover.outcomes.tally = Tally()
        return remover.outcomes

    def conclude(self) -> None:
        """Wait for all that is being worked on. Raises `AuditLost`."""
        while any(self._running.values()):
            self._listen(_SLICE_SECONDS)
        self._complain()

    def _complain(self) -> None:
        if self._lost is not None:
            error, self._lost = self._lost, None
            raise error

    def _listen(self, wait_seconds: float) -> None:
        try:
            for member, (word, *rest) in self._crew.exchange(wait_seconds):
                if word == "ended":
                    raise self._crew.lost(member)
                if rest[0].left and self._stop.reason is None:
                    # Not by us. What it left has no line and no count, so it must not pass for done.
                    self._tally.stopped_by_fault = self._tally.stopped_by_fault or self._crew.told_to_end(member)
                self._is_done(self._running[member].popleft(), rest[0])
        except MemberLost as error:
            self._tally.stopped_by_fault = self._tally.stopped_by_fault or str(error)
            member = self._crew.members[error.number - 1]
            while self._running[member]:
                self._look_after(self._running[member].popleft())

    def _is_done(self, job: Job, done: Done) -> None:
        self._tally.merge(done.tally)
        if self._locks is not None:
            self._locks.give_back(job.cut, self._plan)
        try:
            self._tell(done.text, done.counts)
        except AuditLost as error:
            self._lost = error  # raised when what has come is looked through

    def _look_after(self, job: Job) -> None:
        """Count and tell what somebody who is gone has removed of a batch: what was planned and is not there now."""
        if self._locks is not None:
            for share in self._reader.batch(job.cut):
                outcomes = self._begun(self._remover, job)
                outcomes.count_gone(share)
                self._is_done(job._replace(cut=[]), Done(outcomes.tally, *outcomes.take_lines()))
            self._locks.give_back(job.cut, self._plan)

    def _work(self, channel: Channel, _number: int) -> None:
        """What the others do: batch after batch, until the channel is closed."""
        reader, remover = Reader(self._plan), self._new_remover()
        fault = ""
        while not channel.ended:
            for _, job in channel.arrived(_SLICE_SECONDS):
                outcomes = self._begun(remover, job)
                if not fault and self._stop.reason is None:
                    self._perform(remover, reader.batch(job.cut), job)
                    fault = outcomes.tally.stopped_by_fault
                left = 0
                if self._stop.reason is not None:
                    left = files(job.cut) - outcomes.tally.done - outcomes.tally.stayed.total()
                channel.send(("done", Done(outcomes.tally, *outcomes.take_lines(), left)))


class _Locks:
    """Locks of directories of which more than one batch is worked on: one process's lock would shut the others out."""

    def __init__(self, root: VolumeRoot) -> None:
        self._root = root
        self._held: dict[bytes, tuple[contextlib.ExitStack, int]] = {}

    def take(self, cut: Cut, plan: Plan) -> Lock:
        """Lock the directory of a batch that is all in one."""
        if len(cut) > 1:
            return Lock.OF_NOBODY
        directory = plan.parts[cut[0].part].directory
        if directory in self._held:
            stack, count = self._held[directory]
            self._held[directory] = stack, count + 1
            return Lock.HELD
        stack = contextlib.ExitStack()
        try:
            fd = stack.enter_context(self._root.directory(directory, for_reading=True))
        except OSError:
            return Lock.REFUSED  # whoever has the batch meets the same, and counts it
        if directory and not stack.enter_context(locked(fd, exclusive=True)):
            stack.close()
            return Lock.REFUSED
        self._held[directory] = stack, 1
        return Lock.HELD

    def give_back(self, cut: Cut, plan: Plan) -> None:
        """Unlock the directory of a batch, if nobody else works in it."""
        if len(cut) != 1:
            return
        directory = plan.parts[cut[0].part].directory
        if directory in self._held:
            stack, count = self._held[directory]
            if count > 1:
                self._held[directory] = stack, count - 1
            else:
                stack.close()
                del self._held[directory]

    def close(self) -> None:
        """Give back all of them."""
        for stack, _ in self._held.values():
            stack.close()
        self._held.clear()

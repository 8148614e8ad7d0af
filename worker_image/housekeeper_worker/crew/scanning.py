"""A scan by several processes: directories wander from who has many to who has none.

Each process walks with a stack of its own. The first one begins; whoever runs out of work says so, and gets a part of
the stack of the first, which asks the others when its own is empty. All that passes between them are paths.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, NamedTuple

from housekeeper_worker.crew.channel import Channel
from housekeeper_worker.crew.crew import Crew, Member
from housekeeper_worker.errors import DiskFailing
from housekeeper_worker.retention.plan import Part
from housekeeper_worker.scratch import Scratch
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.scan import Stack

_GIVEN: Final = 32
"""Directories that are given away at once, at most: so few that at the end nobody has many."""
_SLICE_SECONDS: Final = 0.1
HIRE_AFTER: Final = 2_000
"""Entries that the first process lists before it looks for help: a small volume is done before help is there."""


class Found(NamedTuple):
    """What one of the others found."""

    parts: list[Part]
    tally: Tally
    written: int
    """Bytes that it wrote to its scratch."""
    told_to_end: bool = False
    """Whether it was stopped before the first process had said that all is looked through."""


Look = Callable[["Taker", Scratch], Found]
"""Walk, with a `Taker` for where directories come from, and a store for what is planned."""


class Giver:
    """The first process's side: what `volume.scan.Walk` asks between directories."""

    def __init__(self, processes: int, stop: Stop, look: Look, hire_after: int) -> None:
        self.processes = processes
        self._crew = Crew(stop)
        self._stop = stop
        self._look = look
        self._hire_after = hire_after
        self._scratch: list[Scratch] = []
        self._sent: dict[Member, int] = {}
        self._hungry: set[Member] = set()
        """Who asks for directories, having none or soon none."""
        self._idle: set[Member] = set()
        self._asked: set[Member] = set()
        """Who was asked for directories and gave none yet."""
        self._found: dict[Member, Found] = {}
        self._fault = ""

    def between(self, stack: Stack, *, spare: int, listed: int) -> None:
        """Give directories away, once enough was listed to make it worth while. Raises `DiskFailing`, `MemberLost`."""
        if not self._crew.members:
            if not spare or listed < self._hire_after:
                return
            self._hire()
        self._listen(stack, 0.0)
        if self._fault:
            raise DiskFailing(self._fault)
        for member in sorted(self._hungry, key=_number):
            count = min(_GIVEN, (spare + 1) // 2)
            if count:
                self._give(member, stack[:count])
                del stack[:count]
                spare -= count

    def more(self, stack: Stack) -> bool:
        """Wait for directories that others give back. Returns whether there are any."""
        while not (stack or self._fault or self._stop.reason):
            busy = [member for member in self._crew.members if member not in self._idle and member not in self._found]
            if not busy:
                break
            for member in busy:
                if member not in self._asked:
                    self._asked.add(member)
                    member.channel.put(("give",))
            self._listen(stack, _SLICE_SECONDS)
        return bool(stack)

    def conclude(self) -> list[tuple[Found, Scratch]]:
        """What the others found; none of them is left afterwards."""
        with self._crew as crew:
            for member in crew.members:
                member.channel.put(("conclude",))
            while waiting := [member for member in crew.members if member not in self._found]:
                for member in waiting:
                    if member.channel.ended:
                        raise crew.lost(member)
                self._listen([], _SLICE_SECONDS)
            scratch = {member: self._scratch[member.number - 1] for member in crew.members}
            found = [(self._found[member], scratch[member]) for member in crew.members]
        for one, store in found:
            store.written_by_another(one.written)
        self._scratch = []
        return found

    def close(self) -> None:
        """End the others, whatever they do, and give back the scratch of those whose findings nobody took."""
        with self._crew:
            pass
        for scratch in self._scratch:
            scratch.close()

    def _hire(self) -> None:
        self._scratch = [Scratch() for _ in range(1, self.processes)]
        for scratch in self._scratch:
            scratch.open()

        def work(channel: Channel, number: int) -> None:
            scratch = self._scratch[number - 1]
            taker = Taker(channel, self.processes, self._stop)
            found = self._look(taker, scratch)
            told = self._stop.reason is not None and not taker.is_over
            channel.send(("found", found._replace(told_to_end=told)))

        self._crew.hire(self.processes - 1, work)
        self._sent = dict.fromkeys(self._crew.members, 0)
        self._hungry, self._idle = set(self._crew.members), set(self._crew.members)

    def _give(self, member: Member, places: Stack) -> None:
        member.channel.put(("look", [place.sent() for place in places]))
        self._sent[member] += 1
        self._hungry.discard(member)
        self._idle.discard(member)

    def _listen(self, stack: Stack, wait_seconds: float) -> None:
        for member, (word, *rest) in self._crew.exchange(wait_seconds):
            if word == "places":
                self._asked.discard(member)
                stack.extend(rest[0])
            elif word == "found":
                found = self._found[member] = rest[0]
                if found.told_to_end and self._stop.reason is None:
                    # Not by us. Directories that it had are in nobody's findings, so these are no whole plan.
                    found.tally.stopped_by_fault = found.tally.stopped_by_fault or self._crew.told_to_end(member)
                self._fault = self._fault or found.tally.stopped_by_fault
            elif word == "ended":
                if member not in self._found:
                    raise self._crew.lost(member)
            elif rest[0] == self._sent[member]:
                # Said after everything that was sent had come, so nothing is on its way.
                self._hungry.add(member)
                if word == "idle":
                    self._idle.add(member)


class Taker:
    """The other side."""

    def __init__(self, channel: Channel, processes: int, stop: Stop) -> None:
        self.processes = processes
        self._channel = channel
        self._stop = stop
        self._received = 0
        self._is_asked = self._has_asked = False
        self.is_over = False
        """Whether the first process has said that all is looked through."""

    def between(self, stack: Stack, *, spare: int, listed: int) -> None:  # noqa: ARG002 - as `Sharing` has it
        """Give directories back, or ask for some before there are none left."""
        self._listen(stack, 0.0)
        if self.is_over:
            stack.clear()
        elif self._is_asked and spare:
            count = (spare + 1) // 2
            self._channel.send(("places", [place.sent() for place in stack[:count]]))
            del stack[:count]
            self._is_asked = False
        elif not spare and not self._has_asked:
            self._has_asked = True
            self._channel.send(("hungry", self._received))

    def more(self, stack: Stack) -> bool:
        """Wait for directories. Returns whether there are any, and none is what ends the walk."""
        self._channel.send(("idle", self._received))
        while not stack and not self.is_over and self._stop.reason is None:
            self._listen(stack, _SLICE_SECONDS)
        return bool(stack)

    def _listen(self, stack: Stack, wait_seconds: float) -> None:
        for word, *rest in self._channel.arrived(wait_seconds):
            if word == "look":
                self._received += 1
                self._has_asked = False
                stack.extend(rest[0])
            elif word == "give":
                self._is_asked = True
            else:
                self.is_over = True
        if self._channel.ended:
            os._exit(1)  # the first process is gone, and nobody wants to know any more


def _number(member: Member) -> int:
    return member.number

"""The other processes of a run: started by fork, told to stop, waited for, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import gc
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, Self

from housekeeper_worker.crew.channel import Channel, Message, pipe
from housekeeper_worker.errors import CouldNotRun, MemberLost
from housekeeper_worker.logs import log
from housekeeper_worker.stop import Stop

Work = Callable[[Channel, int], None]
"""What a member does: it talks over the channel, and has a number from 1."""

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)
_GRACE_SECONDS: Final = 3.0
"""For how long members that were told to stop may take to say what they did."""


@dataclasses.dataclass(eq=False, slots=True)
class Member:
    """One of the other processes."""

    number: int
    pid: int
    channel: Channel
    status: int | None = None
    """As waitpid gives it; None while it runs."""


class Crew:
    """Processes that are forked from this one. Use it in a `with` statement: at its end none of them is left."""

    def __init__(self, stop: Stop) -> None:
        self.members: list[Member] = []
        self._stop = stop
        self._told: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.channel.close()
        for member in self.members:
            if member.status is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member.pid, signal.SIGKILL)
                self._reap(member)
        self.members = []

    def hire(self, count: int, work: Work) -> None:
        """Start `count` members that carry out `work` and end."""
        gc.collect()
        gc.freeze()  # a collection in a child would write to, and with it copy, every page that is shared
        for number in range(1, count + 1):
            down, up = pipe(), pipe()
            parent = os.getpid()
            # Python forgets what signals came just before a child of a fork is ready, so the child lets them wait.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            try:
                pid = os.fork()
                if pid == 0:
                    for other in self.members:
                        other.channel.close()
                    os.close(down[1])
                    os.close(up[0])
                    _be_member(Channel(down[0], up[1]), number, parent, self._stop, work)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(down[0])
            os.close(up[1])
            fcntl.fcntl(down[1], fcntl.F_SETFL, os.O_NONBLOCK)
            self.members.append(Member(number, pid, Channel(up[0], down[1])))

    def exchange(self, wait_seconds: float = 0.0) -> Iterator[tuple[Member, Message]]:
        """Send what waits and give what has come, after waiting for something for so long at most.

        Passes a stop on. Raises `CouldNotRun` where a member could not go on, `MemberLost` for one that is gone.
        """
        if not self.members:
            return
        self._pass_stop_on()
        living = [member for member in self.members if not member.channel.ended]
        sending = [member.channel.writing for member in living if member.channel.has_more_to_send]
        readable, _, _ = select.select([member.channel.reading for member in living], sending, [], wait_seconds)
        for member in living:
            member.channel.push()
            if member.channel.reading not in readable:
                continue
            for message in member.channel.arrived():
                if message[0] == "could not run":
                    raise CouldNotRun(message[1])
                if message[0] == "failed":
                    raise MemberLost(message[1], member.number)
                yield member, message
            if member.channel.ended:
                self._reap(member)
                yield member, ("ended",)

    def lost(self, member: Member) -> MemberLost:
        """The error for a member that ended though there was work left."""
        status = member.status or 0
        if self._told is not None and time.monotonic() - self._told > _GRACE_SECONDS:
            late = f"process {member.pid} of this run did not end in {_GRACE_SECONDS:g} s, and was killed"
            return MemberLost(late, member.number)
        how = (
            f"was ended by signal {os.WTERMSIG(status)} ({signal.strsignal(os.WTERMSIG(status))})"
            if os.WIFSIGNALED(status)
            else "ended unexpectedly"
        )
        hint = "; it may have been out of memory" if how.endswith("(Killed)") else ""
        return MemberLost(f"process {member.pid} of this run {how}{hint}", member.number)

    @staticmethod
    def told_to_end(member: Member) -> str:
        """A sentence for a member that left work undone because somebody else than this run told it to end."""
        return (
            f"process {member.pid} of this run was told to end by signal {signal.SIGTERM:d} "
            f"({signal.strsignal(signal.SIGTERM)}), but not by the run; earlyoom does that where memory is short"
        )

    def _pass_stop_on(self) -> None:
        if self._stop.reason is None:
            return
        now = time.monotonic()
        if self._told is None:
            self._told = now
            self._signal(signal.SIGTERM)
        elif now - self._told > _GRACE_SECONDS:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for member in self.members:
            if member.status is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member.pid, number)

    @staticmethod
    def _reap(member: Member) -> None:
        if member.status is None:
            _, member.status = os.waitpid(member.pid, 0)


def _be_member(channel: Channel, number: int, parent: int, stop: Stop, work: Work) -> None:
    """Carry out `work` in a process of its own, and end it."""
    code = 1
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == parent:
            _stop_on_signals(stop)
            work(channel, number)
            code = 0
    except CouldNotRun as error:
        channel.send(("could not run", str(error)))
    except BrokenPipeError:
        pass  # nobody is left to tell
    except BaseException as error:  # noqa: BLE001 - whatever it is, the first process must say so
        import traceback  # noqa: PLC0415 - seldom wanted, and a tenth of a cold start

        log("error", f"process {os.getpid()} of this run broke: {error}", traceback=traceback.format_exc())
        channel.send(("failed", f"process {os.getpid()} of this run broke: {type(error).__name__}: {error}"))
    finally:
        os._exit(code)


def _stop_on_signals(stop: Stop) -> None:
    def cancel(_number: int, _frame: FrameType | None) -> None:
        stop.now("Cancelled")

    # An interrupt from a terminal reaches every process, and the first one passes on what it means.
    signal.signal(signal.SIGTERM, cancel)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

"""Removal of directories that are one item each: out of sight by one rename, and emptied afterwards or kept."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Sequence
from functools import partial
from typing import Final

from housekeeper_api.task import OpenFiles, Rule
from housekeeper_worker.retention.paths import join
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.retention.records import Records
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.acts import Act
from housekeeper_worker.volume.batches import Share
from housekeeper_worker.volume.contents import MAX_LINKED, Contents, Inode, Look, Openers, Stays, Stopped, inspect
from housekeeper_worker.volume.directory_ways import ByAct, IntoTrash, Way
from housekeeper_worker.volume.emptying import Emptied, Emptying
from housekeeper_worker.volume.faults import Fault, classify, classify_removal, explain
from housekeeper_worker.volume.lease import Leases, Use
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.outcomes import Outcomes
from housekeeper_worker.volume.protected import Protection
from housekeeper_worker.volume.root import OWN_DIRECTORY, VolumeRoot
from housekeeper_worker.volume.trash import Coming, Entry, Trash

_BATCH: Final = 64
"""Directories between two writes of the journal."""
_FAULTS: Final = {
    Protection.MARKED: Fault.MARKED,
    Protection.LOCKED: Fault.LOCKED,
    Protection.MOUNT: Fault.IN_USE,
}
"""What came into a directory since it was planned. Of everything else it has changed."""


class DirectoryRemoval:
    """Removes directories of a plan, or shows what removing them would count."""

    def __init__(
        self,
        root: VolumeRoot,
        tally: Tally,
        outcomes: Outcomes,
        stop: Stop,
        rules: Sequence[Rule],
        plan: Plan,
        run: str,
        *,
        now_ns: int,
        open_files: OpenFiles,
        rehearsed: int,
        act: Act | None = None,
    ) -> None:
        """A dry run looks for openers of `rehearsed` files in directories. `act` is how those of its rules go."""
        self._root = root
        self._tally = tally
        self._outcomes = outcomes
        self._stop = stop
        self._rules = frozenset(number for number, rule in enumerate(rules) if rule.item_type == "Directory")
        self._causes = plan.causes
        self._act = act
        self._run = run
        leases, strict = Leases(), open_files == "Strict"
        self._openers = None if open_files == "Ignore" else Openers(leases, strict, now_ns)
        self._rehearsed = None if open_files == "Ignore" else Openers(leases, strict, now_ns, rehearsed)
        self._trash: Trash | None = None
        self._emptying: Emptying | None = None
        self._links: dict[Inode, int] = {}
        """In a dry run: of files with several names, how many would be left."""
        self._moved: set[Inode] = set()
        """Files with several names that were moved in some directory, or would be."""

    def takes(self, share: Share) -> bool:
        """Whether the items of a share, which are of one rule, are directories."""
        return self._causes[share.records.cause[0]].rule in self._rules

    def _act_of(self, share: Share) -> Act | None:
        act = self._act
        return act if act is not None and self._causes[share.records.cause[0]].rule in act.rules else None

    def close(self) -> None:
        """Let go of the trash."""
        if self._trash is not None:
            self._trash.close()
            self._trash = None

    def rehearse(self, share: Share) -> None:
        """Count what would go. Changes no file."""
        look = Look(openers=self._rehearsed)
        try:
            directory = self._root.open_below(self._root.fd, share.directory or b".")
        except OSError as error:
            self._all_stay(error, share, range(len(share.records)))
            return
        try:
            for place in range(len(share.records)):
                try:
                    contents = self._fresh(directory, share.records, place, look)
                except Stays as error:
                    self._stays(error, share, place)
                except Stopped:
                    return
                else:
                    if self._act_of(share) is not None:
                        self._outcomes.moved("wouldQuarantine", share, place, contents.use, self._newly_moved(contents))
                        continue
                    self._outcomes.went("wouldRemove", share, place, contents.use, self._would_free(contents))
        finally:
            os.close(directory)

    def _would_free(self, contents: Contents) -> int:
        freed = contents.allocated
        for inode, (inside, links, allocated) in contents.links.items():
            left = self._links.get(inode, links) - inside
            if left > 0:
                freed -= allocated
            if inode in self._links or len(self._links) < MAX_LINKED:
                self._links[inode] = left
        return freed

    def remove(self, directory: int, share: Share) -> None:
        """Remove the directories of a share, which are in the open directory `directory`."""
        if (act := self._act_of(share)) is not None:
            self._move(directory, share, act)
            return
        for begin in range(0, len(share.records), _BATCH):
            if self._must_end:
                return
            places = range(begin, min(begin + _BATCH, len(share.records)))
            try:
                trash, emptying = self._open_trash()
                entries = trash.announce(
                    Coming(join(share.directory, share.records.names[place]), share.records.inode[place])
                    for place in places
                )
            except OSError as error:
                self._all_stay(error, share, places)
                continue
            self._remove_batch(directory, share, places, entries, trash, emptying)

    def _move(self, directory: int, share: Share, act: Act) -> None:
        """Let the directories of a share go by the act of their rule, which was told of them before."""
        records = share.records
        for place in range(len(records)):
            if self._must_end:
                return
            path = share.directory, records.names[place]
            way = ByAct(act, directory, path, records.inode[place], partial(_not_put_back, self._tally, join(*path)))
            try:
                use, contents = self._take(directory, records, place, way)
            except Stays as error:
                self._stays(error, share, place)
            except Stopped:
                return
            else:
                self._outcomes.moved("quarantined", share, place, use, self._newly_moved(contents))

    def _newly_moved(self, contents: Contents) -> int:
        """Bytes on disk of a directory, but for files of which one that was moved before has a name too."""
        known = sum(allocated for inode, (_, _, allocated) in contents.links.items() if inode in self._moved)
        if len(self._moved) < MAX_LINKED:
            self._moved.update(contents.links)
        return contents.allocated - known

    @property
    def _must_end(self) -> bool:
        return self._stop.reason is not None or bool(self._tally.stopped_by_fault)

    def _remove_batch(
        self,
        directory: int,
        share: Share,
        places: Sequence[int],
        entries: list[Entry],
        trash: Trash,
        emptying: Emptying,
    ) -> None:
        taken: list[tuple[int, Entry, Use]] = []
        for place, entry in zip(places, entries, strict=True):
            if self._must_end:
                trash.note(entry, "over")
                continue
            back = partial(self._bring_back, trash, entry)
            way = IntoTrash(trash, entry, directory, share.records.names[place], back)
            try:
                taken.append((place, entry, self._take(directory, share.records, place, way)[0]))
            except Stays as error:
                self._stays(error, share, place)
            except Stopped:
                continue
        try:
            trash.commit([entry for _, entry, _ in taken])
        except OSError as error:
            for place, entry, _ in taken:
                self._bring_back(trash, entry)
                self._outcomes.stayed(error, classify(error), share, place)
            return
        for place, entry, use in taken:
            done = emptying.empty(entry.name)
            self._outcomes.went("removed", share, place, use, done.freed)
            trash.note(entry, "over" if done.whole else "told")
            left_over(self._root, self._tally, entry, done)

    def _take(self, directory: int, records: Records, place: int, way: Way) -> tuple[Use, Contents]:
        """Rename a directory away, unless it changed or somebody uses it. Raises `Stays` and `Stopped`."""
        name = records.names[place]
        top = -1
        moved = False
        contents = Contents()
        try:
            look = self._look()
            top = self._root.open_below(directory, name)
            contents = self._inspected(top, records, place, look)
            way.take()
            moved = True
            after = self._unchanged(top, contents, way, dataclasses.replace(look, removable=False))
        except (OSError, Stays, Stopped) as error:
            if not way.leave(moved=moved):
                return contents.use, contents
            if isinstance(error, OSError):
                raise Stays(_fault_of_rename(error, directory, name), b"", error) from error
            raise
        finally:
            if top >= 0:
                os.close(top)
        return max(contents.use, after.use, key=lambda use: use is Use.UNKNOWN), contents

    def _unchanged(self, top: int, before: Contents, way: Way, look: Look) -> Contents:
        """Look once more through what was renamed. Raises OSError, and `Stays` where it is not as it was `before`."""
        if not way.is_there():
            raise Stays(Fault.CHANGED)
        after = inspect(self._root, top, look, self._stop)
        if not after.is_like(before):
            raise Stays(Fault.CHANGED)
        return after

    def _bring_back(self, trash: Trash, entry: Entry) -> None:
        try:
            trash.bring_back(entry)
        except OSError as error:
            not_brought_back(self._tally, entry, error)

    def _fresh(self, directory: int, records: Records, place: int, look: Look) -> Contents:
        try:
            top = self._root.open_below(directory, records.names[place])
        except OSError as error:
            raise Stays(classify(error), b"", error) from error
        try:
            return self._inspected(top, records, place, look)
        finally:
            os.close(top)

    def _inspected(self, top: int, records: Records, place: int, look: Look) -> Contents:
        """What is in a directory. Raises `Stays` where it is not what was planned."""
        stat = os.fstat(top)
        if stat.st_ino != records.inode[place] or stat.st_dev != records.device[place]:
            raise Stays(Fault.CHANGED)
        contents = inspect(self._root, top, look, self._stop)
        planned = records.size[place], records.allocated[place], records.modified[place]
        changed = records.changed[place]
        if (contents.size, contents.allocated, contents.modified) != planned or (
            contents.changed > changed if contents.touched else contents.changed != changed
        ):
            raise Stays(Fault.CHANGED)
        return contents

    def _look(self) -> Look:
        touched = {} if self._emptying is None else self._emptying.touched
        return Look(openers=self._openers, removable=True, touched=touched)

    def _open_trash(self) -> tuple[Trash, Emptying]:
        if self._trash is None or self._emptying is None:
            self._trash = Trash.open(self._root, self._run, create=True)
            self._emptying = Emptying(self._root, self._trash.fd, self._stop)
        return self._trash, self._emptying

    def _stays(self, stays: Stays, share: Share, place: int) -> None:
        fault = stays.why if isinstance(stays.why, Fault) else _FAULTS.get(stays.why, Fault.CHANGED)
        if stays.why is Protection.UNREADABLE and stays.error is not None:
            fault = classify(stays.error)
        if fault is Fault.IN_USE:
            self._tally.use[Use.OPEN] += 1
        elif fault is Fault.UNKNOWN_USE:
            self._tally.use[Use.UNKNOWN] += 1
        self._outcomes.stayed(stays.error, fault, share, place, stays.path)

    def _all_stay(self, error: OSError, share: Share, places: Sequence[int]) -> None:
        for place in places:
            self._outcomes.stayed(error, classify(error), share, place)


def _fault_of_rename(error: OSError, directory: int, name: bytes) -> Fault:
    if error.errno == errno.EXDEV:
        return Fault.UNMOVABLE
    return classify_removal(error, directory, name)


def left_over(root: VolumeRoot, tally: Tally, entry: Entry, done: Emptied) -> None:
    """Tell that a directory in the trash could not be emptied."""
    if done.error is None:
        return
    fault = classify(done.error)
    fault = Fault.OTHER if fault in {Fault.CHANGED, Fault.GONE} else fault
    if tally.wants_error(fault):
        where = OWN_DIRECTORY + b"/trash/" + entry.name
        tally.add_error(f"{explain(fault, done.error, root, where, where)}; the next run goes on with it")


def not_brought_back(tally: Tally, entry: Entry, error: OSError) -> None:
    """Tell that a directory in the trash could not be brought back."""
    if tally.wants_error(Fault.OTHER):
        name = entry.path.decode("utf-8", "backslashreplace")
        tally.add_error(
            f"{name}: lies in .housekeeper/trash/{entry.name.decode()} and could not be brought back "
            f"({error.strerror}); the next run tries again"
        )


def _not_put_back(tally: Tally, path: bytes, error: OSError) -> None:
    if tally.wants_error(Fault.OTHER):
        tally.add_error(
            f"{shown(path)}: somebody used it while it went into quarantine, and it could not be put back at once "
            f"({error.strerror}); a restore of this run brings it back"
        )

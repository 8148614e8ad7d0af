"""What becomes of planned files and directories: counted, and told in lines of the audit."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import compress
from typing import Final

from housekeeper_worker.audit import FileEvent, file_lines
from housekeeper_worker.retention.links import Links
from housekeeper_worker.retention.paths import join
from housekeeper_worker.retention.records import Records
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.batches import Share
from housekeeper_worker.volume.faults import MAX_IO_ERRORS, Fault, explain
from housekeeper_worker.volume.lease import Use
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.root import VolumeRoot

Members = Callable[[int], str]
"""From the number of a cause to rule, group and reason as members of an audit line."""

FREED: Final = 1
"""What became of a file: its name was the last one. 0 is for one that stays."""
UNLINKED: Final = 2
"""It is still there under another name."""
MOVED: Final = 3
"""It went by the act of its rule, and is still there."""


class Outcomes:
    """Counts in `tally`, and keeps the lines until whoever asked takes them away."""

    def __init__(
        self,
        root: VolumeRoot,
        tally: Tally,
        members: Members,
        links: Callable[[], Links],
        *,
        audited: bool,
        looks: bool,
        emptied: Callable[[bytes, int], None] | None = None,
        watched: Collection[bytes] | None = (),
    ) -> None:
        """`links`: makes a table of the files of which several names are planned. `looks`: whether openers count.

        `emptied`: called with a directory from which something went, in whatever way, and the number of the cause.
        `watched`: paths of which the tally is to know whether they went or stayed; None: of all that stay.
        """
        self._root = root
        self.tally = tally
        self.stamp = ""
        """What the lines say about when they were written."""
        self.tells = audited
        """Whether the audit wants a line about each file, or only to know how many there were."""
        self._audited = audited
        self._looks = looks
        self._members = members
        self._emptied = emptied
        self._watches_all_that_stays = watched is None
        self._watched: dict[bytes, set[bytes]] = {}
        """Names by their directory, so that it costs nothing where none is."""
        for path in watched or ():
            directory, _, name = path.rpartition(b"/")
            self._watched.setdefault(directory, set()).add(name)
        self._lines: list[str] = []
        self._counts: Counter[str] = Counter()
        self._table_of_links = links
        self._known_links: Links | None = None
        self._io_errors = 0

    def take_lines(self) -> tuple[str, Counter[str]]:
        """The lines since the last call, and how many files there were of each event."""
        told = "".join(self._lines), self._counts
        self._lines, self._counts = [], Counter()
        return told

    @property
    def links(self) -> Links:
        """The files of which several names are planned; made when the first one of them is met."""
        if self._known_links is None:
            self._known_links = self._table_of_links()
        return self._known_links

    def place(self, records: Records, place: int) -> int:
        """Where one of `records` is in that table; -1 if it is not."""
        return self.links.place(records.device[place], records.inode[place])

    def removed(self, share: Share, gone: bytearray) -> None:
        """Count and tell the files of a share that went, by what became of each."""
        if gone[-1]:
            self._io_errors = 0
        self._note_gone(share, gone)
        if self._emptied is not None and any(gone):
            self._emptied(share.directory, share.records.cause[0])
        if MOVED in gone:
            self.moved_files("quarantined", share, bytearray([went == MOVED for went in gone]))
            gone = gone.replace(bytes([MOVED]), b"\0")
        self.tally.removed += len(gone) - gone.count(0)
        freed = gone.replace(bytes([UNLINKED]), b"\0") if UNLINKED in gone else gone
        self.tally.bytes_freed += sum(compress(share.records.allocated, freed))
        self.tell("removed", share, gone)

    def went_well(self) -> None:
        """Say that the last file made no trouble, so that errors before and after it are not in a row."""
        self._io_errors = 0

    def moved_files(self, event: FileEvent, share: Share, marks: bytearray) -> None:
        """Count and tell of the marked files that they were moved. Bytes count with the first of a file's names."""
        records, tally = share.records, self.tally
        for place in compress(range(len(records)), marks):
            tally.quarantined += 1
            if records.links[place] > 1 and (one := self.place(records, place)) >= 0:
                if self.links.moved[one]:
                    continue
                self.links.moved[one] = 1
            tally.bytes_quarantined += records.allocated[place]
        self.tell(event, share, marks)

    def count_gone(self, share: Share) -> None:
        """Count and tell files that are not there any more as removed: by somebody who could not say so."""
        gone = bytearray(len(share.records))
        with contextlib.suppress(OSError), self._root.directory(share.directory, for_reading=False) as fd:
            for place, name in enumerate(share.records.names):
                try:
                    os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    gone[place] = FREED
        self._note_gone(share, gone)
        self.tally.removed += gone.count(FREED)
        self.tally.bytes_freed += sum(compress(share.records.allocated, gone))
        self.tell("removed", share, gone)

    def stays_for(self, use: Use, share: Share, place: int) -> None:
        """Count a file that stays because it is open, or because nobody can tell."""
        self.tally.use[use] += 1
        self.stayed(None, Fault.IN_USE if use is Use.OPEN else Fault.UNKNOWN_USE, share, place)

    def went(self, event: FileEvent, share: Share, place: int, use: Use, freed: int) -> None:
        """Count a directory that is gone, or would be."""
        self._io_errors = 0
        if self._looks and (use is not Use.NOT_OPEN or event != "removed"):
            self.tally.use[use] += 1
        self.tally.removed += 1
        self.tally.bytes_freed += freed
        if self._emptied is not None and event == "removed":
            self._emptied(share.directory, share.records.cause[place])
        marks = bytearray(len(share.records))
        marks[place] = 1
        self._note_gone(share, marks)
        self.tell(event, share, marks, f',"freed":{freed}')

    def moved(self, event: FileEvent, share: Share, place: int, use: Use, allocated: int) -> None:
        """Count a directory that was moved, or would be, with so many bytes on disk."""
        self._io_errors = 0
        if self._looks and (use is not Use.NOT_OPEN or event != "quarantined"):
            self.tally.use[use] += 1
        self.tally.quarantined += 1
        self.tally.bytes_quarantined += allocated
        if self._emptied is not None and event == "quarantined":
            self._emptied(share.directory, share.records.cause[place])
        marks = bytearray(len(share.records))
        marks[place] = 1
        self._note_gone(share, marks)
        self.tell(event, share, marks)

    def stayed(self, error: OSError | None, fault: Fault, share: Share, place: int, inside: bytes = b"") -> None:
        """Count a planned item that stayed, and look whether the run must end for it.

        `inside` is what in a directory is the matter, empty for the directory itself.
        """
        tally = self.tally
        tally.stayed[fault] += 1
        marks = bytearray(len(share.records))
        marks[place] = 1
        self.tell("skipped", share, marks, f',"skipped":"{fault}"')
        path = join(share.directory, share.records.names[place])
        if self._watches_all_that_stays or share.records.names[place] in self._watched.get(share.directory, ()):
            tally.let_stay.append((path, fault))
        if error is not None and tally.wants_error(fault):
            tally.add_error(explain(fault, error, self._root, path, join(path, inside) if inside else share.directory))
        self._io_errors = self._io_errors + 1 if fault is Fault.IO else 0
        if fault is Fault.READ_ONLY:
            tally.stopped_by_fault = "the volume is mounted read-only, or its file system went read-only after an error"
        elif self._io_errors >= MAX_IO_ERRORS:
            tally.stopped_by_fault = (
                f"{MAX_IO_ERRORS} I/O errors in a row, the last at {shown(path)}: the disk may fail"
            )

    def _note_gone(self, share: Share, gone: Sequence[int]) -> None:
        """Note which of the watched are among those of a share that went."""
        watched, names = self._watched.get(share.directory), share.records.names
        if watched is not None and not watched.isdisjoint(names):
            self.tally.let_go.update(join(share.directory, name) for name in compress(names, gone) if name in watched)

    def tell(self, event: FileEvent, share: Share, marks: Sequence[int], more: str = "") -> None:
        """Add audit lines about the files that are marked."""
        count = len(marks) - marks.count(0)
        if not self._audited or not count:
            return
        self._counts[event] += count
        if self.tells:
            records = share.records.compressed(marks) if count < len(marks) else share.records
            self._lines.append(file_lines(self.stamp, event, share.directory, records, self._members, more))

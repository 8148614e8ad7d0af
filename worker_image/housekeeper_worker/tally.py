"""What a clean-up counts while it works. `report` makes the result of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Final

from housekeeper_worker.retention.decide import Verdict, decision
from housekeeper_worker.volume.faults import HARMLESS, Fault
from housekeeper_worker.volume.lease import Use
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.protected import Protection

MAX_ERRORS: Final = 5
MAX_ERROR_LENGTH: Final = 256
MAX_NOTES: Final = 5
_SAMPLES: Final = {
    Verdict.REMOVE: 10,
    Verdict.YOUNG: 4,
    Verdict.SETTLING: 2,
    Verdict.SETTLING_BY_CHANGE_TIME: 2,
    Verdict.FUTURE: 2,
    Verdict.KEPT: 6,
    Verdict.UNPARSABLE: 2,
    Verdict.UNLISTED: 2,
    Verdict.SPARED: 0,
    Verdict.STAYS: 4,
}
"""How many decisions of each kind are shown as examples."""
_ODD: Final = {Verdict.FUTURE, Verdict.UNPARSABLE}
"""Of these the first is named in a note, whatever else is shown."""
MAX_SAMPLES: Final = 20
_SUMS: Final = (
    "scanned",
    "matched",
    "uncounted",
    "removed",
    "bytes_freed",
    "quarantined",
    "bytes_quarantined",
    "held",
    "directories",
    "mounts",
    "passed_by",
    "others",
)
"""What several processes count each for itself."""


@dataclasses.dataclass(slots=True)
class Tally:
    """Counters of one run. Files are regular files below the root."""

    scanned: int = 0
    matched: int = 0
    uncounted: int = 0
    """Of the matched: what stays whatever the rules say, and what could not be looked at."""
    removed: int = 0
    removed_directories: int = 0
    """Directories that this run emptied and then removed."""
    bytes_freed: int = 0
    freed_on_disk: int | None = None
    planned: int = 0
    """Files of the whole plan."""
    planned_bytes: int = 0
    plan_stored: str = ""
    """Where the plan waits for approval; empty if it does not."""
    quarantined: int = 0
    bytes_quarantined: int = 0
    restorable_until: str | None = None
    """RFC 3339; None if nothing was quarantined."""
    purged: int = 0
    bytes_purged: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)
    """Sentences for the result that are no errors."""
    verdicts: Counter[Verdict] = dataclasses.field(default_factory=Counter)
    stayed: Counter[Fault] = dataclasses.field(default_factory=Counter)
    """Planned files that stayed, by fault."""
    protected: Counter[Protection] = dataclasses.field(default_factory=Counter)
    """Selected files that stay whatever the rules say, and directories not entered for that."""
    use: Counter[Use] = dataclasses.field(default_factory=Counter)
    """Planned files by what is known about their openers; empty where nobody asked."""
    held: int = 0
    """Planned files that stayed because a brake tripped."""
    not_approved: int = 0
    """Planned files that stayed because the approved plan has not got them."""
    approval: str = ""
    """Why the approved plan is kept, as a sentence; empty if it is done with."""
    faults: Counter[Fault] = dataclasses.field(default_factory=Counter)
    """Errors by class: of files that stayed, and of directories that could not be read."""
    errors: list[str] = dataclasses.field(default_factory=list)
    directories: int = 0
    directory_items: int = 0
    """Selected directories, each one item."""
    mounts: int = 0
    passed_by: int = 0
    """Directories into which no rule looks."""
    others: int = 0
    sample: list[dict[str, str]] = dataclasses.field(default_factory=list)
    examples: list[Verdict] = dataclasses.field(default_factory=list)
    """What was decided about each of the sample."""
    sampled: Counter[Verdict] = dataclasses.field(default_factory=Counter)
    let_stay: list[tuple[bytes, Fault]] = dataclasses.field(default_factory=list)
    """Planned items that stayed, or would, and why: in a dry run all of them, else those that are in `sample`."""
    let_go: set[bytes] = dataclasses.field(default_factory=set)
    """Of those in `sample` what went. Empty in a dry run."""
    sample_paths: list[bytes] = dataclasses.field(default_factory=list)
    """The path of each in `sample`, as bytes."""
    first_odd: dict[Verdict, tuple[str, str]] = dataclasses.field(default_factory=dict)
    """Path and reason of the first file whose time is in the future, or not known."""
    pressure: str = ""
    """How full the volume was and is, as a sentence; empty without pressure."""
    stalled: bool = False
    """The volume did not get emptier, so the run stopped."""
    stopped_by_fault: str = ""
    """Why no further removal was tried, as a sentence; empty if none stopped the run."""

    @property
    def done(self) -> int:
        """Planned files that went, in whatever way."""
        return self.removed + self.quarantined

    @property
    def not_counting(self) -> int:
        """Of the matched: what stays and does not count, of which a share of what goes is no share."""
        return self.uncounted + sum(self.verdicts[verdict] for verdict in _ODD)

    @property
    def error_count(self) -> int:
        """All errors, listed or not."""
        return self.faults.total()

    def merge(self, other: Tally) -> None:
        """Add what another process counted. Examples of both are kept as far as there is room."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("verdicts", "stayed", "protected", "use"):
            getattr(self, name).update(getattr(other, name))
        is_new = set(other.faults) - set(self.faults)
        self.faults.update(other.faults)
        for sentence in other.errors:
            if len(self.errors) < MAX_ERRORS or is_new:
                self.add_error(sentence)
        for example, path, verdict in zip(other.sample, other.sample_paths, other.examples, strict=True):
            if self.wants_sample(verdict):
                self._keep_sample(example, path, verdict)
        for verdict, odd in other.first_odd.items():
            self.first_odd.setdefault(verdict, odd)
        self.let_stay += other.let_stay
        self.let_go |= other.let_go
        self.stopped_by_fault = self.stopped_by_fault or other.stopped_by_fault

    def wants_error(self, fault: Fault) -> bool:
        """Count an error, unless it is harmless. Returns whether its sentence is still wanted as an example.

        The first of each class is always wanted, so that a thousand of one class do not hide the others.
        """
        if fault in HARMLESS:
            return False
        self.faults[fault] += 1
        return self.faults[fault] == 1 or len(self.errors) < MAX_ERRORS

    def add_error(self, sentence: str) -> None:
        """Keep the sentence of an error, in the place of the last if there are enough."""
        if len(self.errors) == MAX_ERRORS:
            self.errors.pop()
        self.errors.append(sentence[:MAX_ERROR_LENGTH])

    def add_note(self, sentence: str) -> None:
        """Keep a sentence, if there are not enough."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(sentence[:MAX_ERROR_LENGTH])

    def wants_sample(self, verdict: Verdict) -> bool:
        """Whether an example of this verdict is still wanted."""
        if verdict in _ODD and verdict not in self.first_odd:
            return True
        return self.sampled[verdict] < _SAMPLES[verdict] and not self.has_sample_enough

    @property
    def has_sample_enough(self) -> bool:
        """Whether no example of any kind is wanted any more."""
        return len(self.sample) >= MAX_SAMPLES

    def add_sample(self, path: bytes, verdict: Verdict, why: str) -> None:
        """Keep one decision as an example."""
        self._keep_sample({"path": shown(path), "decision": decision(verdict), "reason": why}, path, verdict)

    def _keep_sample(self, example: dict[str, str], path: bytes, verdict: Verdict) -> None:
        self.sampled[verdict] += 1
        if verdict in _ODD:
            self.first_odd.setdefault(verdict, (example["path"], example["reason"]))
        if not self.has_sample_enough:
            self.sample.append(example)
            self.sample_paths.append(path)
            self.examples.append(verdict)

    @property
    def sampled_to_go(self) -> set[bytes]:
        """Paths of the examples that say of a file that it goes."""
        each = zip(self.sample_paths, self.sample, strict=True)
        return {path for path, example in each if example["decision"] == decision(Verdict.REMOVE)}

    def keep_samples(self, reasons: Mapping[bytes, str]) -> None:
        """Let the examples with these paths say that the item stays, each with its reason."""
        for path, example in zip(self.sample_paths, self.sample, strict=True):
            if path in reasons:
                example.update(decision=decision(Verdict.STAYS), reason=reasons[path])

    def spare(self, count: int) -> None:
        """Take back the decision about so many files that should have gone."""
        self.verdicts[Verdict.REMOVE] -= count
        self.verdicts[Verdict.SPARED] += count

    def skipped(self) -> dict[str, int]:
        """Files that a rule takes and that are protected or could not be removed, by reason."""
        counts: dict[str, int] = {str(fault): count for fault, count in self.stayed.items()}
        counts["settling"] = self.verdicts[Verdict.SETTLING] + self.verdicts[Verdict.SETTLING_BY_CHANGE_TIME]
        counts["future"] = self.verdicts[Verdict.FUTURE]
        counts["unparsable"] = self.verdicts[Verdict.UNPARSABLE]
        counts["unlisted"] = self.verdicts[Verdict.UNLISTED]
        counts["spared"] = self.verdicts[Verdict.SPARED]
        counts["held"] = self.held
        counts["notApproved"] = self.not_approved
        for protection, count in self.protected.items():
            counts[protection] = counts.get(protection, 0) + count
        return {reason: counts[reason] for reason in sorted(counts) if counts[reason]}

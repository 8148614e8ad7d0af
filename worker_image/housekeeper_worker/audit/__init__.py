"""The audit: what was done to which file, and why; where it goes, how it is chained, and how it is checked.

`Audit` is the one writer of a run; `lines` makes what it writes about files. `chain` says what makes lines verifiable,
`tail` what a killed writer left, `reports` where the files of the report volume are and how long they stay, `verify`
whether a file is what was written.
"""

from housekeeper_worker.audit.lines import FileEvent, file_lines, path_member
from housekeeper_worker.audit.writer import Audit

__all__ = ["Audit", "FileEvent", "file_lines", "path_member"]

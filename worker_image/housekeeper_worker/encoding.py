"""Names of files as text: always UTF-8, whatever the locale says.

A policy is UTF-8. With a locale of another encoding Python would read the names of files in that, and `exclude:
["café/**"]` would take nothing of a directory that a person sees under that very name.
"""

from __future__ import annotations

import os
import sys

from housekeeper_api.exit_codes import ExitCode

_SWITCH = "PYTHONUTF8"


def ensure_utf8() -> None:
    """Begin this process anew in Python's UTF-8 mode, unless names are UTF-8 already. Its children inherit that."""
    if sys.getfilesystemencoding() == "utf-8":
        return
    if os.environ.get(_SWITCH) == "1":  # and is not obeyed: python -E or -I
        sys.stderr.write("housekeeper: names of files would not be read as UTF-8: set LC_ALL=C.UTF-8\n")
        sys.exit(ExitCode.COULD_NOT_RUN)
    os.environ[_SWITCH] = "1"
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the same program with the same arguments

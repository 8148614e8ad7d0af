"""System calls that fail, as a container runtime's seccomp profile lets them."""

from __future__ import annotations

import ctypes
import platform
import struct

OPENAT2 = 437
STATX = {"x86_64": 332}.get(platform.machine(), 291)
LINKAT = {"x86_64": 265}.get(platform.machine(), 37)
RENAMEAT2 = {"x86_64": 316}.get(platform.machine(), 276)


def forbid(*syscalls: int, answer: int) -> None:
    """Let these system calls fail with `answer` in this process from now on, as a seccomp profile does."""
    allow, fail = 0x7FFF0000, 0x00050000 | answer
    program = [struct.pack("=HBBI", 0x20, 0, 0, 0)]  # load the number of the call
    for number in syscalls:
        program.append(struct.pack("=HBBI", 0x15, 0, 1, number))  # if it is this one …
        program.append(struct.pack("=HBBI", 0x06, 0, 0, fail))
    program.append(struct.pack("=HBBI", 0x06, 0, 0, allow))
    code = ctypes.create_string_buffer(b"".join(program))
    filter_ = ctypes.create_string_buffer(struct.pack("@HxxxxxxQ", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
    assert libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(filter_)), 0, 0) == 0  # seccomp, filter

"""System calls that fail, as a container runtime's seccomp profile lets them.

`default_profile` refuses what containerd's and moby's default profiles (contrib/seccomp/seccomp_default.go,
profiles/seccomp/default.json) do not allow a container without capabilities. Where the two differ, or their releases
do, it is what the stricter one says.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from typing import Final

_X86: Final = platform.machine() == "x86_64"


def _number(x86_64: int, generic: int) -> int:
    return x86_64 if _X86 else generic


OPENAT2: Final = 437
STATX: Final = _number(332, 291)
LINKAT: Final = _number(265, 37)
RENAMEAT2: Final = _number(316, 276)
_CLONE: Final = _number(56, 220)
_CLONE3: Final = 435
_PERSONALITY: Final = _number(135, 92)
_SOCKET: Final = _number(41, 198)
_ARCHITECTURE: Final = _number(0xC000003E, 0xC00000B7)

_NEWER: Final = 453
"""Whatever came after fchmodat2."""
_NAMESPACES: Final = 0x7E020000
"""CLONE_NEWNS, …NEWCGROUP, …NEWUTS, …NEWIPC, …NEWUSER, …NEWPID, …NEWNET."""
_VSOCK: Final = 40

_REFUSED: Final = {
    "syslog": (103, 116),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    "vhangup": (153, 58),
    "pivot_root": (155, 41),
    "_sysctl": (156, None),
    "adjtimex": (159, 171),
    "chroot": (161, 51),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "mount": (165, 40),
    "umount2": (166, 39),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "create_module": (174, None),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "get_kernel_syms": (177, None),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "nfsservctl": (180, 42),
    "lookup_dcookie": (212, 18),
    "clock_settime": (227, 112),
    "vserver": (236, None),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "get_mempolicy": (239, 236),
    "kexec_load": (246, 104),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "migrate_pages": (256, 238),
    "unshare": (272, 97),
    "move_pages": (279, 239),
    "perf_event_open": (298, 241),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "clock_adjtime": (305, 266),
    "setns": (308, 268),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "finit_module": (313, 273),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "ptrace": (101, 117),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "mount_setattr": (442, 442),
    "quotactl_fd": (443, 443),
    "set_mempolicy_home_node": (450, 450),
}

_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
"""Where a filter finds them."""
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _ANSWER = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; a test goes on `yes` or `no` instructions further."""
    return struct.pack("=HBBI", code, yes, no, value)


def forbid(*syscalls: int, answer: int) -> None:
    """Let these system calls fail with `answer` in this process from now on, as a seccomp profile does."""
    program = [_step(_LOAD, _NUMBER)]
    for number in syscalls:
        program += [_step(_EQUAL, number, no=1), _step(_ANSWER, _FAIL | answer)]
    _install([*program, _step(_ANSWER, _ALLOW)])


def default_profile() -> None:
    """Refuse from now on, in this process and its children, what a container without capabilities may not call."""
    refuse = _step(_ANSWER, _FAIL | errno.EPERM)
    program = [
        _step(_LOAD, _MACHINE),
        _step(_EQUAL, _ARCHITECTURE, yes=1),
        _step(_ANSWER, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _NEWER, no=1),
        refuse,
        _step(_EQUAL, _CLONE3, no=1),  # whose arguments no filter sees: a C library falls back to clone
        _step(_ANSWER, _FAIL | errno.ENOSYS),
    ]
    for pair in _REFUSED.values():
        number = pair[0] if _X86 else pair[1]
        if number is not None:
            program += [_step(_EQUAL, number, no=1), refuse]
    for number, test, value in (
        (_CLONE, _ANY_BIT, _NAMESPACES),
        (_SOCKET, _EQUAL, _VSOCK),
        (_PERSONALITY, _AT_LEAST, 1),
    ):
        program += [_step(_EQUAL, number, no=4), _step(_LOAD, _FIRST_ARGUMENT), _step(test, value, no=1), refuse]
        program += [_step(_ANSWER, _ALLOW)]
    _install([*program, _step(_ANSWER, _ALLOW)])


def _install(program: list[bytes]) -> None:
    code = ctypes.create_string_buffer(b"".join(program))
    filter_ = ctypes.create_string_buffer(struct.pack("@HxxxxxxQ", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
    assert libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(filter_)), 0, 0) == 0  # seccomp, filter

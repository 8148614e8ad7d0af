"""Whose a directory is, and what to set so that a worker may work in it."""

from __future__ import annotations

import os


def unreadable(path: str, owner: os.stat_result | None) -> str:
    """Sentence for a directory that may not be read or searched, with the owner and the field to set."""
    if owner is None:
        return f"no permission for {path}: run as the user that owns it (spec.pod.securityContext.runAsUser)"
    return f"no permission to read {path}: {advice(owner)}"


def advice(owner: os.stat_result) -> str:
    """Whose a directory is, and what to set so that a worker may work in it."""
    whose = f"it belongs to uid {owner.st_uid} gid {owner.st_gid}, mode {owner.st_mode & 0o7777:04o}"
    if os.geteuid() == owner.st_uid:
        return f"{whose}, which is the worker's own uid: the mode denies it"
    group = f"spec.pod.securityContext.fsGroup or supplementalGroups {owner.st_gid}" if owner.st_gid else "fsGroup"
    if owner.st_uid == 0:
        return f"{whose}; a worker is never root: let a group in and set {group}, or change the owner"
    return f"{whose}; set spec.pod.securityContext.runAsUser to {owner.st_uid}, or let its group in with {group}"

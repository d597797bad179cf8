"""The folder that the doors of one user are in: nobody else may write to it or look into it."""

from __future__ import annotations

import os
import stat

from cascade.errors import ConnectorError

__all__ = ["folder_of_doors", "refusal"]

LONGEST = 60
"""Letters of the folder: the path of a Unix socket has 103 at the most on some systems."""
ASIDE = "/tmp"
"""Where the folder is if the system gives the user none for things that run."""


def folder_of_doors(make: bool = True) -> str | None:
    """Return the folder for doors; None: it is not there, and `make` says not to make it.

    It is `cascade` in the user's runtime folder (XDG_RUNTIME_DIR, else /run/user/<uid>) if that is the user's own and
    closed to others, else /tmp/cascade-<uid>.

    Raises:
        ConnectorError: what is there belongs to somebody else, or is open to others, or is no folder.
        OSError: it cannot be made.
    """
    if os.name != "posix":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")
        return _found(os.path.join(base, "cascade-doors"), make)
    uid = os.geteuid()
    for given in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{uid}"):
        if given and os.path.isabs(given) and len(given) <= LONGEST and refusal(given) is None:
            return _found(os.path.join(given, "cascade"), make)
    return _found(f"{ASIDE}/cascade-{uid}", make)


def _found(path: str, make: bool) -> str | None:
    if make:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
    elif not os.path.lexists(path):
        return None
    why = refusal(path)
    if why is not None:
        raise ConnectorError(
            f"the folder for doors {path} is not safe: {why}; remove it (somebody else may have put it there), or set "
            "XDG_RUNTIME_DIR to a folder of your own with the mode 0700"
        )
    return path


def refusal(path: str) -> str | None:
    """Say what is wrong with a folder that only its user may use; None: nothing."""
    try:
        found = os.lstat(path)
    except OSError as error:
        return f"it cannot be looked at ({error.strerror})"
    if stat.S_ISLNK(found.st_mode):
        return "it is a link to elsewhere"
    if not stat.S_ISDIR(found.st_mode):
        return "it is no folder"
    if os.name == "posix":
        if found.st_uid != os.geteuid():
            return f"it belongs to the user {found.st_uid}, not to {os.geteuid()}"
        if stat.S_IMODE(found.st_mode) & 0o077:
            return f"others may use it (mode {stat.S_IMODE(found.st_mode):04o})"
    return None

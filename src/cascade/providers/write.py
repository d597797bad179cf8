"""Writing files: `cs.write.text(path, text)`, `cs.write.bytes(path, data)`."""

from __future__ import annotations

import builtins
import os
import tempfile
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

from cascade.spec.task import task

__all__ = ["bytes", "text"]


@task(name="write.text", mode="blocking")
def text(path: str | PathLike[str], text: str, encoding: str = "utf-8") -> Path:
    """Write text to a file, all at once, and return its path; line ends are written as they stand.

    The file has its old content or the new one, never a part of it. Missing directories are made.

    Raises:
        OSError: it cannot be written.
        TypeError: what is to be written is no str.
        UnicodeEncodeError: the encoding has no such letter.
    """
    if not isinstance(text, str):
        raise TypeError(f"cs.write.text writes a str, not {type(text).__name__}; cs.format and cs.template make one")
    return _replace(path, text.encode(encoding))


@task(name="write.bytes", mode="blocking")
def bytes(path: str | PathLike[str], data: builtins.bytes | bytearray | memoryview) -> Path:
    """Write bytes to a file, all at once, and return its path; see `write.text`."""
    if not isinstance(data, (builtins.bytes, bytearray, memoryview)):
        raise TypeError(f"cs.write.bytes writes bytes, not {type(data).__name__}")
    return _replace(path, data)


def _replace(path: Any, data: Any) -> Path:
    """Write a new file and put it in the place of the old one, with its permissions."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not target.is_file():  # a device or a pipe
        target.write_bytes(data)
        return target
    real = Path(os.path.realpath(target))
    handle, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.chmod(name, real.stat().st_mode & 0o7777 if real.exists() else 0o666 & ~_umask())
        os.replace(name, real)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    return target


def _umask() -> int:
    """Return the permissions that new files do not get; the system tells them only by setting them."""
    global _known_umask
    if _known_umask is None:
        _known_umask = os.umask(0o022)
        os.umask(_known_umask)
    return _known_umask


_known_umask: int | None = None

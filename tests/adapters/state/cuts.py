"""Losses of power at the level of system calls: what a process did to its files, and what of it a disk has afterwards.

A library (cuts.c) that is loaded into a process writes down its writes and waits for the disk, in order. A disk that
loses its power behind any of these operations has, of each file, what it was when the process last had the disk confirm
it (fsync, fdatasync), and of what came later any part: each sector as it was before or after, and any length. Of names
(made, linked, taken away) it has those that there were when the folder was last waited for, and the first later ones.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SOURCE = Path(__file__).with_suffix(".c")
SECTOR = 512


class Operation(NamedTuple):
    """What a process did to a file, whose name in the folder it is; "" is the folder itself."""

    kind: str
    """C(reated), W(ritten), T(runcated), S(ynced), U(nlinked), R(enamed), L(inked)."""
    name: str
    offset: int
    data: bytes
    """What was written, or the new name."""


def library(folder: Path) -> Path:
    """Make the library; skip the test where no compiler is."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux":
        pytest.skip("system calls are watched on Linux only")
    if compiler is None:
        if os.environ.get("CASCADE_REQUIRE_ALL") == "1":
            pytest.fail("gcc is not installed, and CASCADE_REQUIRE_ALL=1 asks for it")
        pytest.skip("takes a C compiler")
    made = folder / "cuts.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-w", "-o", made, SOURCE, "-ldl", "-lpthread"], check=True)
    return made


def watched(made: Path, folder: Path, log: Path, command: list[str], dies: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command with the library, which notes what it does to a folder, or kills it before an operation."""
    paths = os.pathsep.join([str(Path(__file__).parents[3]), str(Path(__file__).parents[3] / "src")])
    env = {**os.environ, "PYTHONPATH": paths, "LD_PRELOAD": str(made), "CUTS_FOLDER": str(folder), "CUTS_LOG": str(log)}
    return subprocess.run(
        [sys.executable, "-P", *command],
        env={**env, "CUTS_DIES": str(dies)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def operations(log: Path, folder: Path) -> list[Operation]:
    """Return what a process did."""

    def read() -> Iterator[Operation]:
        data, at = log.read_bytes(), 0
        while at < len(data):
            kind, length, offset, size = struct.unpack_from("4Q", data, at)
            at += 32
            path = data[at : at + length].decode()
            at += length
            size = size if chr(kind) in "WRL" else 0
            held = data[at : at + size]
            at += size
            if chr(kind) in "RL":
                held = os.path.relpath(held.decode(), folder).encode()
            name = os.path.relpath(path, folder)
            yield Operation(chr(kind), "" if name == "." else name, offset, held)

    return [*read()]


class Inode:
    """A file on a disk: what was confirmed, and what was done since."""

    def __init__(self, data: bytes = b"") -> None:
        self.now = bytearray(data)
        self.confirmed = bytes(data)

    def do(self, one: Operation) -> None:
        if one.kind == "W":
            self.now[len(self.now) :] = bytes(max(0, one.offset - len(self.now)))
            self.now[one.offset : one.offset + len(one.data)] = one.data
        elif one.kind == "T":
            self.now[one.offset :] = bytes(max(0, one.offset - len(self.now)))
        elif one.kind == "S":
            self.confirmed = bytes(self.now)

    def left(self, draw: random.Random) -> bytes:
        """Return what a disk may have of it after a loss of power."""
        before, after = self.confirmed, bytes(self.now)
        way = draw.choice(["confirmed", "all", "mixed", "mixed"])
        if way == "confirmed":
            return before
        if way == "all":
            return after
        least, most = sorted((len(before), len(after)))
        end = draw.choice([least, most, draw.randint(least, most)])
        share, out = draw.choice([0.1, 0.5, 0.95]), bytearray(before[:end].ljust(end, b"\0"))
        for at in range(0, end, SECTOR):
            if draw.random() < share:
                out[at : at + SECTOR] = after[at : at + SECTOR].ljust(min(SECTOR, end - at), b"\0")
        return bytes(out)


class Disk:
    """A folder on a disk."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.names = {name: Inode(data) for name, data in files.items()}
        self.confirmed = dict(self.names)
        self.later: list[dict[str, Inode]] = []
        """What names there were after each change since the folder was waited for."""

    def do(self, one: Operation) -> None:
        if one.kind == "S" and not one.name:
            self.confirmed, self.later = dict(self.names), []
        elif one.kind in "WTS":
            self.names[one.name].do(one)
        else:
            if one.kind == "C":
                self.names[one.name] = Inode()
            elif one.kind == "L":
                self.names[one.data.decode()] = self.names[one.name]
            elif one.kind == "U":
                self.names.pop(one.name, None)
            else:
                self.names[one.data.decode()] = self.names.pop(one.name)
            self.later.append(dict(self.names))

    def left(self, draw: random.Random) -> dict[str, bytes]:
        """Return the files that there may be after a loss of power."""
        names = draw.choice([self.confirmed, *self.later])
        kept: dict[int, bytes] = {}
        return {name: kept.setdefault(id(inode), inode.left(draw)) for name, inode in names.items()}


def lay_out(folder: Path, files: dict[str, bytes]) -> None:
    """Write files as a disk has them."""
    folder.mkdir(mode=0o700)
    for name, data in files.items():
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)


def files_of(folder: Path) -> dict[str, Any]:
    """Return the files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}

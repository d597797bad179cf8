"""Which files a store may be kept in: ours alone to write, on a disk of this host, and a store at all.

What is recorded may be a pickle, and a pickle that somebody else has written can run anything. So a file that others
can write to, or lay beside (its log is a file of its own), is refused before a byte of it is believed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat

from cascade.errors import StateError

__all__ = ["APPLICATION", "check_local", "check_private", "check_writable", "head_version", "make_folders"]

APPLICATION = 0x43534344
"""What a file of SQLite says that it is of, in its head."""
MAGIC = b"SQLite format 3\0"
COMPANIONS = ("-wal", "-shm", "-journal")

REMOTE = frozenset(
    {
        *("acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs", "gfs2", "glusterfs", "gpfs"),
        *(
            "lustre",
            "ncp",
            "ncpfs",
            "nfs",
            "nfs3",
            "nfs4",
            "ocfs2",
            "orangefs",
            "panfs",
            "pvfs2",
            "shfs",
            "smb",
            "smb2",
        ),
        *("smb3", "smbfs", "webdav", "fuse.afp", "fuse.afpfs", "fuse.beegfs", "fuse.blobfuse", "fuse.blobfuse2"),
        *("fuse.ceph", "fuse.ceph-fuse", "fuse.curlftpfs", "fuse.davfs", "fuse.davfs2", "fuse.gcsfuse"),
        *("fuse.glusterfs", "fuse.goofys", "fuse.gvfsd-fuse", "fuse.juicefs", "fuse.mount-s3", "fuse.mountpoint-s3"),
        *("fuse.moosefs", "fuse.rclone", "fuse.s3fs", "fuse.seaweedfs", "fuse.smbnetfs", "fuse.sshfs"),
    }
)
"""The kinds of file systems that several hosts may write to. Shares between a host and its guests (9p, virtiofs) are
not among them: one kernel alone writes there as a rule, and where locks do not work SQLite says so."""


def check_private(path: str) -> None:
    """Raise StateError if others can write to a file that is there, to what stands beside it, or to its folder.

    Args:
        path: the file, without links on the way.
    """
    folder = os.path.dirname(path)
    _check_owned(folder, os.stat(folder), "put the file into a folder of its own")
    for each in (path, *(path + suffix for suffix in COMPANIONS)):
        try:
            found = os.lstat(each)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no plain file"
            raise StateError(f"{each} is {kind}, so no runs can be recorded in it; name a file")
        _check_owned(each, found, "give another file")


def _check_owned(path: str, found: os.stat_result, instead: str) -> None:
    if not hasattr(os, "geteuid"):  # where files have no owners and modes, those of a user are the user's own
        return
    uid = os.geteuid()
    if found.st_uid not in (uid, 0):
        raise StateError(
            f"{path} belongs to another user (uid {found.st_uid}), who could plant code in the records of runs; "
            f"{instead}, or run `chown {uid} {shlex.quote(path)}`"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        what = instead
        if not found.st_mode & stat.S_ISVTX:  # a folder that is meant for all, as /tmp is, stays so
            what = f"run `chmod go-w {shlex.quote(path)}`, or {instead}"
        raise StateError(f"others can write to {path}, and could plant code in the records of runs; {what}")


def check_writable(path: str) -> None:
    """Raise StateError if we cannot write to a file, or into its folder: SQLite says so late, and no more than that.

    Args:
        path: the file, which need not be there; its folder is.
    """
    folder = os.path.dirname(path)
    for each in (folder, path):
        if os.path.exists(each) and not os.access(each, os.W_OK):
            what = "it" if each == path else f"its folder, {folder}, where its log stands, too"
            raise StateError(f"no runs can be recorded in {path}: nothing can be written to {what}; name another file")


def make_folders(folder: str) -> None:
    """Make a folder, and those above it, for us alone, as far as they are not there."""
    if os.path.isdir(folder):
        return
    make_folders(os.path.dirname(folder))
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)


def head_version(path: str) -> int:
    """Return of which schema the store in a file is, by its first bytes; 0 for an empty file.

    Raises:
        StateError: it is no store, or no file of SQLite.
    """
    with open(path, "rb") as file:
        head = file.read(100)
    if not head:
        return 0
    if not head.startswith(MAGIC) or len(head) < 100:
        raise StateError(f"{path} is no SQLite file; it was left as it is: name another file for the runs")
    if int.from_bytes(head[68:72], "big") != APPLICATION:
        raise StateError(
            f"{path} is a SQLite file of another application; it was left as it is: name another file for the runs"
        )
    return int.from_bytes(head[60:64], "big")


def check_local(path: str, mounts: str = "/proc/self/mounts") -> None:
    """Raise StateError for a path on a network file system, as far as the system tells what is mounted where."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()
    except OSError:
        return
    best, kind = "", ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _unescaped(fields[1])
        inside = point == "/" or path == point or path.startswith(point + "/")
        if inside and len(point) >= len(best):  # of several at one place the last one is seen
            best, kind = point, fields[2]
    if kind.lower() in REMOTE:
        raise StateError(
            f"{path} is on a network file system ({kind}, mounted at {best}), where SQLite's locks do not hold and "
            "records would be lost; put the file on a disk of this host"
        )


def _unescaped(point: str) -> str:
    """Return the path of a mount; blanks and the like stand there as octal numbers."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, char)
    return point

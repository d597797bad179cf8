"""Results kept in a folder: a file for each, of JSON where that gives the very value back, else with a pickle.

A pickle can run anything when it is read, so it is only read from, and written to, a folder that nobody else can
write to. Files are written under another name first and then renamed, so that readers see all of one or nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import re
import stat
from hashlib import blake2b
from typing import Any

from cascade.adapters.caching.trim import Trimmer
from cascade.errors import CacheError
from cascade.spec.caching import CacheEntry, CacheKey, Corrupt
from cascade.spec.notes import spelled

__all__ = ["DiskStore"]

FORMAT = 1
MOST_TOLD = 64
PLAIN = frozenset({type(None), bool, int, str})
_numbers = itertools.count()


class DiskStore:
    """Keeps results in a folder, for any number of engines, threads and processes.

    Each task has a folder inside; an entry is `<digest>.json`, or `<digest>.pickle`: a line of JSON and a pickle. The
    folder is made when first written to, for its owner alone.

    Args:
        path: the folder.
        max_bytes: beyond so many bytes, the entries not used for longest are removed; by default none is.

    Raises:
        ValueError: `max_bytes` is no whole number of 1 or more.
    """

    in_threads = True

    def __init__(self, path: str | os.PathLike[str], max_bytes: int | None = None) -> None:
        if max_bytes is not None and (not isinstance(max_bytes, int) or isinstance(max_bytes, bool) or max_bytes < 1):
            raise ValueError(f"DiskStore needs max_bytes of 1 or more, not {max_bytes!r}")
        self.path: str = os.path.abspath(os.fspath(path))
        self._trimmer = None if max_bytes is None else Trimmer(self.path, max_bytes)

    def __repr__(self) -> str:
        return f"DiskStore({self.path!r})"

    def load(self, key: CacheKey) -> CacheEntry | Corrupt | None:
        """Read the entry of a key.

        Raises:
            CacheError: it is a pickle that others could have written, or the folder cannot be read.
        """
        try:
            for kind in ("json", "pickle"):
                place = os.path.join(self._folder(key.task), f"{key.digest}.{kind}")
                try:
                    found = self._read(place, kind, key.digest)
                except FileNotFoundError:
                    continue
                if self._trimmer is not None and isinstance(found, CacheEntry):
                    self._trimmer.used(place)
                if isinstance(found, CacheEntry) or kind == "pickle":
                    return found
                if not os.path.exists(place.removesuffix("json") + "pickle"):
                    return found
        except OSError as error:
            raise CacheError(f"the cache folder {self.path} cannot be read: {error}") from error
        return None

    def save(self, key: CacheKey, entry: CacheEntry) -> None:
        """Write an entry.

        Raises:
            CacheError: the value does not pickle, or others can write to the folder, or it cannot be written to.
        """
        head = {
            "cascade_cache": FORMAT,
            "task": key.task,
            "digest": key.digest,
            "saved": entry.saved,
            "parts": entry.parts,
        }
        folder = self._folder(key.task)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if _is_plain(entry.value, set()):
                text = json.dumps(entry.value)
                data = _json_entry(head, text)
                kind, other = "json", "pickle"
            else:
                for path in (self.path, folder):
                    _check_private(path)
                payload = _pickled(entry.value)
                head["check"] = _check(payload)
                data = json.dumps(head).encode() + b"\n" + payload
                kind, other = "pickle", "json"
            place = os.path.join(folder, f"{key.digest}.{kind}")
            _write(place, data)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, f"{key.digest}.{other}"))
            if self._trimmer is not None:
                self._trimmer.added(len(data))
        except OSError as error:
            raise CacheError(f"the cache folder {self.path} cannot be written to: {error}") from error

    def history(self, task: str) -> list[CacheEntry]:
        """Return the newest entries of a task, without their values; those that cannot be read are left out."""
        try:
            with os.scandir(self._folder(task)) as found:
                files = sorted((each.stat().st_mtime, each.path) for each in found if "." in each.name[1:])
        except OSError:
            return []
        entries = []
        for _, path in files[: -MOST_TOLD - 1 : -1]:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                with open(path, "rb") as file:
                    head = json.loads(file.readline())
                entries.append(CacheEntry(None, float(head["saved"]), dict(head["parts"]), str(head["digest"])))
        return sorted(entries, key=lambda entry: -entry.saved)

    def _folder(self, task: str) -> str:
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", task).strip("._")[-80:]
        return os.path.join(
            self.path, f"{name}-{blake2b(task.encode('utf-8', 'surrogatepass'), digest_size=5).hexdigest()}"
        )

    def _read(self, place: str, kind: str, digest: str) -> CacheEntry | Corrupt:
        with open(place, "rb", opener=_no_link) as file:
            if kind == "pickle":
                _check_owned(place, os.fstat(file.fileno()))
                for path in (self.path, os.path.dirname(place)):
                    _check_private(path)
            data = file.read()
        line, _, payload = data.partition(b"\n")
        try:
            head = json.loads(line)
            if head["cascade_cache"] != FORMAT:
                return Corrupt(f"{place} is of another format")
            if head["digest"] != digest:
                return Corrupt(f"{place} is of another key")
            if kind == "json":
                payload = json.dumps(head["value"]).encode()
            if head["check"] != _check(payload):
                return Corrupt(f"{place} is damaged")
            entry = CacheEntry(None, float(head["saved"]), dict(head["parts"]), digest)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return Corrupt(f"{place} is damaged ({type(error).__name__}: {error})")
        if kind == "json":
            return entry._replace(value=head["value"])
        try:
            return entry._replace(value=pickle.loads(payload))
        except Exception as error:  # what it is of may be gone or changed
            return Corrupt(f"{place} cannot be unpickled ({spelled(error)})")


def _json_entry(head: dict[str, Any], text: str) -> bytes:
    """Return one JSON object in one line, with the value and its check last."""
    head["check"] = _check(text.encode())
    return f'{json.dumps(head)[:-1]}, "value": {text}}}'.encode()


def _check(payload: bytes) -> str:
    return blake2b(payload, digest_size=16).hexdigest()


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:  # whatever a class raises of its own
        raise CacheError(
            f"a {type(value).__name__} cannot be kept on disk, as it does not pickle: {spelled(error)}; "
            "return plain values, or keep it in memory with cs.cached()"
        ) from error


def _is_plain(value: Any, seen: set[int]) -> bool:
    """Say whether JSON gives this very value back: types, order and all."""
    cls = value.__class__
    if cls in PLAIN:
        return cls is not int or value.bit_length() < 10_000  # decimal digits are limited
    if cls is float:
        return bool(value - value == 0.0)  # neither NaN nor infinite
    if cls is not list and cls is not dict:
        return False
    if id(value) in seen or len(seen) > 100_000:  # held twice, it would come back as two
        return False
    seen.add(id(value))
    try:
        if cls is list:
            return all(_is_plain(item, seen) for item in value)
        return all(key.__class__ is str and _is_plain(item, seen) for key, item in value.items())
    except RecursionError:
        return False


def _write(place: str, data: bytes) -> None:
    temporary = os.path.join(os.path.dirname(place), f".{os.getpid()}-{next(_numbers)}-{os.urandom(4).hex()}")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
        os.replace(temporary, place)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _check_private(folder: str) -> None:
    """Raise CacheError for a folder that somebody else could have written to."""
    _check_owned(folder, os.stat(folder))


def _check_owned(path: str, found: os.stat_result) -> None:
    if not hasattr(os, "geteuid"):  # where folders have no owners and modes, those of a user are the user's own
        return
    if found.st_uid != os.geteuid():
        raise CacheError(
            f"{path} belongs to another user, so pickled values are neither read from there nor written to it; "
            "give cs.cached a folder of your own"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CacheError(
            f"others can write to {path}, so pickled values are neither read from there nor written to it; "
            f"run `chmod go-w {path}`, or give cs.cached a folder of its own"
        )

"""A release that waits for a person, for days if need be, and survives `kill -9` at every moment of it.

    pip install 'cascade-py[cli]'
    export CASCADE_STATE=runs.db
    cascade run examples/approved_release.py --version 1.2.0 --run-id release-1.2.0
    kill -9 PID                                               # in another terminal; lines begin with the PID
    cascade resume-run release-1.2.0                          # goes on where it was
    cascade signal release-1.2.0 approved '{"by": "Ada"}'     # a no is '{"by": "Ada", "yes": false}'

It packs this folder (or `--project`), unpacks and compiles what it has packed, waits for a yes, and uploads. The yes is
kept in `runs.db`, whether or not a process waits for it. A process that dies during an upload cannot know whether the
index has the file, so the next one uploads again, under the same idempotency key: the index takes each key once.
"""

import compileall
import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cascade as cs

FOLDER = Path("build/approved_release")
WEEK = 7 * 24 * 3600


@dataclass(frozen=True)
class Answer:
    """What somebody says to a release."""

    by: str
    yes: bool = True


def say(text: str) -> None:
    print(f"[{os.getpid()}] {text}\n", end="", flush=True)


def index_takes(key: str, file: Path) -> bool:
    """Stand in for a package index, a slow one; says whether the upload is new to it.

    It has what real ones of payments and parcels have: of all requests with one idempotency key it takes one.
    """
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with contextlib.closing(sqlite3.connect(FOLDER / "index.db")) as index, index:
        index.execute("CREATE TABLE IF NOT EXISTS uploads (key TEXT PRIMARY KEY, file TEXT, sha256 TEXT)")
        cursor = index.execute("INSERT OR IGNORE INTO uploads VALUES (?, ?, ?)", (key, file.name, digest))
    say(f"the index has {file.name}")
    time.sleep(float(os.environ.get("INDEX_SECONDS", "2")))  # a process that dies here has no answer
    return cursor.rowcount == 1


@cs.task
def pack(project: str, version: str, platform: str) -> Path:
    say(f"packs for {platform}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    name = FOLDER.resolve() / f"{Path(project).name}-{version}-{platform}"
    return Path(shutil.make_archive(str(name), "zip", project))


@cs.task
def check(archive: Path) -> Path:
    say(f"checks {archive.name}")
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(archive, folder)
        if not compileall.compile_dir(folder, quiet=1):
            raise ValueError(f"{archive.name} has a file that does not compile")
    return archive


@cs.task
def ask(archives: list[Path]) -> None:
    run = cs.current().run_id
    say(f"""waits for: cascade signal {run} approved '{{"by": "you"}}'""")


@cs.task
def is_yes(answer: Answer) -> bool:
    say(f"{answer.by} says {'yes' if answer.yes else 'no'}")
    return answer.yes


@cs.task(retry={"max_attempts": 3, "delay": 1.0, "on": OSError})
def upload(archive: Path) -> str:
    say(f"uploads {archive.name}")
    is_new = index_takes(cs.current().key, archive)
    return f"{archive.name} ({'uploaded' if is_new else 'was there already'})"


@cs.task
def told(version: str, uploads: list[str]) -> str:
    return f"{version}: {', '.join(uploads) or 'not released'}"


def release() -> cs.LazyResult[str]:
    project = cs.Param("project", default=str(Path(__file__).parent), description="the folder that is released")
    version = cs.Param("version", type=str)
    archives = check.map(archive=pack.partial(project=project, version=version).map(platform=["linux", "macos"]))
    nobody = Answer("nobody in a week", yes=False)
    answer = cs.wait_signal("approved", type=Answer, timeout=WEEK, default=nobody).after(ask(archives))
    uploads = cs.Router(is_yes(answer), {True: upload.map(archive=archives), False: []})
    return told(version, uploads)


if __name__ == "__main__":
    cs.cli(release())

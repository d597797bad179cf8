"""A PostgreSQL server of its own for tests: in a new directory, on a free port, as a user that is not root."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

USER = "nobody"


def program(name: str) -> str | None:
    """Return where a program of PostgreSQL is; Debian keeps them off the PATH."""
    found = sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else shutil.which(name)


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server, give its URL, and end it; it listens at a socket in its directory alone."""
    initdb, server = program("initdb"), program("postgres")
    assert initdb
    assert server
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # the path of a socket may not be long
    user = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        account = pwd.getpwnam(USER)
        os.chown(home, account.pw_uid, account.pw_gid)
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    data = home / "data"
    process = None
    try:
        subprocess.run(
            [initdb, "-D", data, "-U", "cascade", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            cwd=home,
            **user,  # type: ignore[call-overload]
        )
        log = open(home / "log", "w+")  # noqa: SIM115
        process = subprocess.Popen(
            [server, "-D", data, "-k", home, "-c", "listen_addresses=", "-c", "fsync=off"],
            stdout=log,
            stderr=log,
            cwd=home,
            **user,  # type: ignore[call-overload]
        )
        until = time.monotonic() + 40
        while "ready to accept connections" not in (home / "log").read_text():
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < until, (home / "log").read_text()
            time.sleep(0.02)
        log.close()
        yield f"postgresql://cascade@/postgres?host={home}"
    finally:
        if process is not None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(home, ignore_errors=True)

"""A PostgreSQL server of its own for tests: in a new directory, on a free port, as a user that is not root."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Any

USER = "nobody"


def program(name: str) -> str | None:
    """Return where a program of PostgreSQL is; Debian keeps them off the PATH."""
    found = sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else shutil.which(name)


class Server:
    """A server in a new directory; it listens at a socket there alone, and may be ended and started again."""

    def __init__(self) -> None:
        initdb, server = program("initdb"), program("postgres")
        assert initdb
        assert server
        self.server = server
        self.home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # the path of a socket may not be long
        self.url = f"postgresql://cascade@/postgres?host={self.home}"
        self.process: subprocess.Popen[bytes] | None = None
        self.user: dict[str, Any] = {}
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            account = pwd.getpwnam(USER)
            os.chown(self.home, account.pw_uid, account.pw_gid)
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        subprocess.run(
            [initdb, "-D", self.home / "data", "-U", "cascade", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            cwd=self.home,
            **self.user,
        )

    def start(self) -> None:
        place = self.home / "log"
        with open(place, "w") as log:
            self.process = subprocess.Popen(
                [self.server, "-D", self.home / "data", "-k", self.home, "-c", "listen_addresses=", "-c", "fsync=off"],
                stdout=log,
                stderr=log,
                cwd=self.home,
                **self.user,
            )
        until = time.monotonic() + 40
        while "ready to accept connections" not in place.read_text():
            assert self.process.poll() is None, place.read_text()
            assert time.monotonic() < until, place.read_text()
            time.sleep(0.02)

    def end(self, how: int = signal.SIGTERM) -> None:
        """End it; by SIGQUIT at once, as a crash would, so that it recovers when it is started again."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def remove(self) -> None:
        self.end()
        shutil.rmtree(self.home, ignore_errors=True)


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server, give its URL, and end it."""
    server = Server()
    try:
        server.start()
        yield server.url
    finally:
        server.remove()

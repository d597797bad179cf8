"""A Redis server of its own for tests: in a new directory, on a free port, with a log of what is written."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

SAFE = {"appendonly": "yes", "appendfsync": "always"}


class Server:
    """A server that may be killed and started again.

    Args:
        options: of its configuration; by default it keeps what is committed when the power fails.
    """

    def __init__(self, **options: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="rd", dir="/tmp"))
        self.options = {**SAFE, **{name.replace("_", "-"): value for name, value in options.items()}}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program
        given = [part for name, value in self.options.items() for part in (f"--{name}", value)]
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.home), "--save", ""]
        with (self.home / "log").open("w") as log:
            self.process = subprocess.Popen([program, *own, *given], stdout=log, stderr=log)
        until = time.monotonic() + 40
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as ears:
                    ears.sendall(b"PING\r\n")
                    if ears.recv(64).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            assert self.process.poll() is None, (self.home / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)

    def end(self, how: int = signal.SIGTERM) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(how)
            process.wait(20)

    def remove(self) -> None:
        self.end(signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)

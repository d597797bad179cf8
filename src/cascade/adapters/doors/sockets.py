"""The sockets of doors: Unix sockets, or, where there are none, ports of this machine with a token in a file.

A socket appears under its name once it is listened on: one that refuses is one that nobody listens on any more.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from time import monotonic, sleep

from cascade.adapters.doors.folder import folder_of_doors
from cascade.errors import ConnectorError

__all__ = ["DOOR", "Entrance", "check_peer", "has_unix_sockets", "proof", "reach", "sweep"]

SOCKET, PORT = ".sock", ".port"
"""The endings of their files."""
DOOR = "door"
"""The kind of those where an engine is asked."""
BACKLOG = 64
PATIENCE = 5.0
"""Seconds until a door that does not answer is given up."""
BETWEEN = 0.005
"""Seconds until it is tried again where too many wait at a door."""


def has_unix_sockets() -> bool:
    """Say whether there are Unix sockets here."""
    return os.name == "posix" and hasattr(socket, "AF_UNIX")


class Entrance:
    """A socket that is listened on, with its file; `close` takes both away."""

    def __init__(self, kind: str, name: str = "") -> None:
        """Listen.

        Args:
            kind: a word that the name of the file has at its end, to tell what is spoken there.
            name: of the file, if there is one such socket at a time; by default a fresh one.

        Raises:
            ConnectorError: the folder is not safe.
            OSError: there can be no socket.
        """
        folder = folder_of_doors()
        assert folder is not None
        if not name:
            sweep(folder, kind, gone_alone=True)
        self.pid: int = os.getpid()
        fresh = f"{self.pid}-{os.urandom(3).hex()}"
        self.name: str = name or fresh
        self.token: bytes = b""
        """What is to be proven to know; empty: the system says who it is."""
        is_unix = has_unix_sockets()
        self.path: str = os.path.join(folder, f"{self.name}.{kind}{SOCKET if is_unix else PORT}")
        self.socket: socket.socket = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET, socket.SOCK_STREAM)
        made = os.path.join(folder, f".{fresh}.new")
        try:
            if is_unix:
                self.socket.bind(made)
                os.chmod(made, 0o600)
                self.socket.listen(BACKLOG)
            else:
                self.socket.bind(("127.0.0.1", 0))
                self.socket.listen(BACKLOG)
                self.token = os.urandom(32)
                _write(made, {"port": self.socket.getsockname()[1], "token": self.token.hex()})
            os.replace(made, self.path)
            self.socket.setblocking(False)
        except BaseException:
            self.socket.close()
            with suppress(OSError):
                os.unlink(made)
            raise

    def close(self) -> None:
        """Stop listening, and take the file away; in a forked child the file stays, which is the parent's."""
        self.socket.close()
        if os.getpid() == self.pid:
            with suppress(OSError):
                os.unlink(self.path)


def _write(path: str, content: dict[str, object]) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)


def reach(path: str, patience: float = PATIENCE) -> tuple[socket.socket, bytes]:
    """Return a socket that is connected to a door, and the token that it asks for.

    Raises:
        ConnectionRefusedError, FileNotFoundError: nobody listens there any more.
        ConnectorError: somebody else does.
        OSError: it cannot be reached for another reason.
    """
    token = b""
    if path.endswith(PORT):
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
        token = bytes.fromhex(known["token"])
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    else:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(patience)
        _connect(made, ("127.0.0.1", known["port"]) if token else path, patience)
        if not token:
            check_peer(made)
    except BaseException:
        made.close()
        raise
    return made, token


def _connect(made: socket.socket, to: tuple[str, int] | str, patience: float) -> None:
    until = monotonic() + patience
    while True:
        try:
            made.connect(to)
            return
        except BlockingIOError:  # too many wait there to be let in
            if monotonic() >= until:
                raise TimeoutError("too many others wait at the door") from None
            sleep(BETWEEN)


def check_peer(connected: socket.socket) -> None:
    """Refuse who is of another user, where the system tells.

    Raises:
        ConnectorError: it is another user.
    """
    uid = _peer(connected)
    if uid is not None and uid != os.geteuid():
        raise ConnectorError(
            f"the other end belongs to the user {uid}, and doors are for the user {os.geteuid()} alone"
        )


def _peer(connected: socket.socket) -> int | None:
    if hasattr(socket, "SO_PEERCRED"):  # Linux: pid, uid, gid
        return int(struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])
    if hasattr(socket, "LOCAL_PEERCRED"):  # BSD, macOS: version, uid, groups
        return int(struct.unpack("Ii", connected.getsockopt(0, socket.LOCAL_PEERCRED, 76)[:8])[1])
    return None


def proof(token: bytes, who: str, challenge: str) -> str:
    """Return what shows that somebody knows a token, without telling it."""
    import hmac

    return hmac.new(token, f"{who}:{challenge}".encode(), "sha256").hexdigest()


def sweep(folder: str, kind: str, *, gone_alone: bool = False) -> list[str]:
    """Take away the files of sockets that nobody listens on any more; return the paths of the others, by name.

    Args:
        kind: of which kind.
        gone_alone: look only at those whose process is not there any more, which takes no time.
    """
    left = []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if not name.endswith((f".{kind}{SOCKET}", f".{kind}{PORT}")) or (gone_alone and _is_there(name)):
            continue
        try:
            reach(path, 1.0)[0].close()
        except (ConnectionRefusedError, FileNotFoundError):
            with suppress(OSError):
                os.unlink(path)
        except TimeoutError:
            left.append(path)
        except (OSError, ValueError, KeyError, TypeError):  # it is not ours, or no file of a door
            pass
        else:
            left.append(path)
    return left


def _is_there(name: str) -> bool:
    """Say whether the process that a door is named after is still there, or another one of its number."""
    try:
        os.kill(int(name.partition("-")[0]), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        pass
    return True

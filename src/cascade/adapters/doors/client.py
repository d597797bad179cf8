"""Asking the doors of the engines that run on this machine, for the same user."""

from __future__ import annotations

import os
import socket
from types import TracebackType
from typing import Any, Self

from cascade.adapters.doors.folder import folder_of_doors
from cascade.adapters.doors.lines import VERSION, line_from, object_from, split
from cascade.adapters.doors.sockets import DOOR, PATIENCE, proof, reach, sweep
from cascade.errors import CascadeError, ConnectorError, ConstraintError, StateError

__all__ = ["Asker", "doors"]

KINDS: dict[str, type[CascadeError]] = {"ConstraintError": ConstraintError, "StateError": StateError}


def doors() -> list[str]:
    """Return the paths of the doors that are open for this user; files of those that are gone are taken away.

    Raises:
        ConnectorError: the folder is not safe.
    """
    folder = folder_of_doors(make=False)
    return [] if folder is None else sweep(folder, DOOR)


class Asker:
    """A connection to one door: asks, and returns the answers. A context; `close` ends it."""

    def __init__(self, path: str, patience: float = PATIENCE) -> None:
        """Connect.

        Raises:
            ConnectorError: it is the door of somebody else, or does not prove that it is ours.
            OSError: it cannot be reached.
        """
        self.path: str = path
        self.name: str = os.path.basename(path).partition(".")[0]
        self._inbox = bytearray()
        self._patience = patience
        self._socket: socket.socket
        self._socket, token = reach(path, patience)
        try:
            if token:
                self._prove(token)
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **args: Any) -> Any:
        """Ask for something and return the answer.

        Raises:
            ConstraintError, StateError: it was refused.
            ConnectorError: the door was closed, or said what makes no sense.
        """
        self.send(do, **args)
        try:
            return self.answer()
        except TimeoutError:
            raise ConnectorError(f"engine {self.name} does not answer") from None

    def send(self, do: str, **args: Any) -> None:
        """Ask for something whose answer is taken later, by `answer`.

        Raises:
            ConnectorError: the door was closed.
        """
        self._send({"do": do, **{name: value for name, value in args.items() if value is not None}})

    def answer(self, seconds: float | None = None) -> Any:
        """Wait for the answer to what was sent, for so many seconds or as long as is usual.

        Raises:
            TimeoutError: none came; it may be waited for again.
            ConstraintError, StateError: it was refused.
            ConnectorError: the door was closed, or said what makes no sense.
        """
        said = self._heard(seconds)
        if said.get("ok") is True:
            return said.get("value")
        raise KINDS.get(str(said.get("kind")), ConnectorError)(str(said.get("error", "it was refused")))

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._socket.sendall(line_from({"v": VERSION, **request}))
        except ConnectorError:
            raise
        except OSError as error:
            raise self._closed(error) from None

    def _heard(self, seconds: float | None = None) -> dict[str, Any]:
        self._socket.settimeout(self._patience if seconds is None else seconds)
        while (line := split(self._inbox)) is None:
            try:
                more = self._socket.recv(65_536)
            except (TimeoutError, BlockingIOError):
                raise TimeoutError from None
            except OSError as error:
                raise self._closed(error) from None
            if not more:
                raise self._closed()
            self._inbox += more
        self._socket.settimeout(self._patience)
        return object_from(line)

    def _closed(self, error: OSError | None = None) -> ConnectorError:
        why = "" if error is None else f" ({error})"
        return ConnectorError(f"engine {self.name} has closed its door{why}: it has ended, or is about to")

    def _prove(self, token: bytes) -> None:
        """Prove to be allowed to ask, once the other end has proven that it is the door."""
        challenge = os.urandom(16).hex()
        self._send({"do": "prove", "challenge": challenge})
        theirs = self._heard()
        import hmac

        if not hmac.compare_digest(str(theirs.get("proof")), proof(token, "door", challenge)):
            raise ConnectorError(f"what listens on the port of {self.path} is not the door of an engine")
        self._send({"do": "prove", "proof": proof(token, "asker", str(theirs.get("challenge")))})
        if self._heard().get("ok") is not True:
            raise ConnectorError(f"the door of engine {self.name} does not know the token of {self.path}")

    def close(self) -> None:
        """Leave the door."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

"""A client of pyright's language server, the engine of VS Code: what it shows at a place of a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.helpers import ROOT

__all__ = ["LanguageServer"]

CARET = "‸"
"""Stands in a source where somebody asks; it is no part of it."""


class LanguageServer:
    """One server for files of a folder; a context."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = {"extraPaths": [str(ROOT / "src")], "pythonVersion": "3.11"}
        (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
        self.count = 0

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pyright.langserver", "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        )
        shows = {"contentFormat": ["plaintext"]}
        completion = {"completionItem": {"documentationFormat": ["plaintext"]}}
        signature = {"signatureInformation": {"documentationFormat": ["plaintext"]}}
        known = {"hover": shows, "completion": completion, "signatureHelp": signature}
        root = self.folder.as_uri()
        self.ask(
            "initialize",
            processId=os.getpid(),
            rootUri=root,
            workspaceFolders=[{"uri": root, "name": "here"}],
            capabilities={"textDocument": known},
        )
        self.tell("initialized")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def hover(self, source: str) -> str:
        """Return what is shown over the caret in a source."""
        found = self.at("hover", source)
        return "" if found is None else str(found["contents"]["value"])

    def completions(self, source: str) -> dict[str, str]:
        """Return what completes at the caret: label and detail."""
        found = self.at("completion", source)
        items = found["items"] if isinstance(found, dict) else found or []
        return {each["label"]: each.get("detail", "") for each in items}

    def signatures(self, source: str) -> list[str]:
        """Return the signatures that are shown at the caret, the chosen one first."""
        found = self.at("signatureHelp", source)
        if found is None:
            return []
        labels = [each["label"] for each in found["signatures"]]
        chosen = found.get("activeSignature") or 0
        return [labels[chosen], *labels[:chosen], *labels[chosen + 1 :]]

    def at(self, what: str, source: str) -> Any:
        """Ask about the caret of a source, as a new file."""
        before, _, after = source.partition(CARET)
        self.count += 1
        uri = (self.folder / f"file{self.count}.py").as_uri()
        document = {"uri": uri, "languageId": "python", "version": 1, "text": before + after}
        self.tell("textDocument/didOpen", textDocument=document)
        position = {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}
        return self.ask(f"textDocument/{what}", textDocument={"uri": uri}, position=position)

    def tell(self, method: str, **params: Any) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def ask(self, method: str, **params: Any) -> Any:
        """Send a request, and return its result; what the server asks meanwhile is answered with nothing."""
        self.count += 1
        number = self.count
        self._send({"id": number, "method": method, "params": params})
        while True:
            message = self._next()
            if "method" in message and "id" in message:
                items = message.get("params", {}).get("items", [])
                result = [None] * len(items) if message["method"] == "workspace/configuration" else None
                self._send({"id": message["id"], "result": result})
            elif message.get("id") == number and "method" not in message:
                if "error" in message:
                    raise RuntimeError(str(message["error"]))
                return message["result"]

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def _next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        length = 0
        while line := self.process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if not length:
            raise EOFError("the language server has ended")
        found: dict[str, Any] = json.loads(self.process.stdout.read(length))
        return found

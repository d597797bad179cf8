"""A real Chromium for tests, spoken to by its own protocol over two pipes: nothing else needs to be installed."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests import pictures

__all__ = ["Browser", "Page"]

PATIENCE = 30.0
"""Seconds until something that is waited for is given up."""
KEYS = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    "ArrowDown": 40,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowLeft": 37,
    "End": 35,
}


class Browser:
    """One Chromium without a window; a context."""

    def __init__(self) -> None:
        program = pictures.tool("chromium", "chromium-browser", "google-chrome")
        self._folder = tempfile.mkdtemp(prefix="cs-browser-")
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        options = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"),
            *("--disable-dev-shm-usage", "--disable-background-networking", "--disable-extensions", "--mute-audio"),
            *("--hide-scrollbars", f"--user-data-dir={self._folder}", "--lang=en-US"),
        ]
        command = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, program, *options],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in = ours_out, ours_in
        self._inbox = b""
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        """What the browser said by itself."""

    def ask(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Ask for something and return the answer."""
        number = next(self._numbers)
        said = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        data = json.dumps(said).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        until = time.monotonic() + PATIENCE
        while True:
            heard = self._heard(until, method)
            if heard.get("id") == number:
                if "error" in heard:
                    raise AssertionError(f"{method}: {heard['error']}")
                return heard["result"]
            self.events.append(heard)

    def _heard(self, until: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._inbox:
            if not select.select([self._in], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError(f"the browser does not answer {what}")
            more = os.read(self._in, 1 << 20)
            if not more:
                raise ConnectionError(f"the browser has ended before it answered {what}")
            self._inbox += more
        line, _, self._inbox = self._inbox.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def page(self, url: str = "about:blank", **look: Any) -> Page:
        """Open a page that shares nothing with those before."""
        context = self.ask("Target.createBrowserContext")["browserContextId"]
        target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        page.look(**look)
        page.go(url)
        return page

    def close(self) -> None:
        """End it, with all that it has started."""
        try:
            self.ask("Browser.close")
            self._process.wait(10)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Page:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> Any:
        """Ask the browser for something that this page is to do."""
        return self._browser.ask(method, self._session, **params)

    def go(self, url: str) -> None:
        """Show another address."""
        self.ask("Page.navigate", url=url)

    def look(
        self, width: int = 1280, height: int = 800, dark: bool = False, phone: bool = False, language: str = "en-US"
    ) -> None:
        """Say how large the window is, and which colours and language its user likes."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=features)
        agent = self._browser.ask("Browser.getVersion")["userAgent"]
        self.ask("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)

    def run(self, script: str) -> Any:
        """Return the value of an expression; promises are awaited."""
        found = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{script[:200]}: {found['exceptionDetails']['exception'].get('description')}")
        return found["result"].get("value")

    def until(self, script: str, seconds: float = PATIENCE) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while True:
            try:
                if self.run(f"!!({script})"):
                    return
            except AssertionError:  # what it looks into is not there yet
                pass
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds:g} s: {script}\nthe page says:\n{self.text()[:3000]}")
            time.sleep(0.03)

    def text(self) -> str:
        """Return what stands on the page."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def says(self, text: str) -> None:
        """Wait until a text stands on the page."""
        self.until(f"document.body.innerText.replace(/\\s+/g, ' ').includes({json.dumps(text)})")

    def click(self, selector: str, text: str = "") -> None:
        """Press what a selector finds, or of several the one with a text."""
        listed = f"[...document.querySelectorAll({json.dumps(selector)})]"
        found = f"{listed}.find(e => e.textContent.includes({json.dumps(text)}))"
        self.until(f"({found}) && (({found}).click(), true)")

    def fill(self, selector: str, text: str) -> None:
        """Fill in a field."""
        self.until(f"!!document.querySelector({json.dumps(selector)})")
        told = "for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind, {bubbles: true}));"
        found = f"document.querySelector({json.dumps(selector)})"
        self.run(f"(e => {{ e.value = {json.dumps(text)}; {told} }})({found})")

    def press(self, key: str) -> None:
        """Press a key."""
        code = KEYS[key]
        given = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        text = {"text": "\r"} if key == "Enter" else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **given, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **given)

    def shot(self, path: str | Path) -> None:
        """Take a picture of it."""
        Path(path).write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))

    def faults(self) -> list[str]:
        """Return what the browser has complained about since the page was opened: scripts, policies, files."""
        self.run("1")
        found = []
        for event in self._browser.events:
            params = event.get("params", {})
            if event.get("sessionId") != self._session:
                continue
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))
        return found

    def addresses(self) -> set[str]:
        """Return where the page has asked for something."""
        self.run("1")
        return {
            event["params"]["request"]["url"]
            for event in self._browser.events
            if event.get("sessionId") == self._session and event["method"] == "Network.requestWillBeSent"
        }

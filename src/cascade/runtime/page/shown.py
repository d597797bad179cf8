"""The part of an engine that shows itself on a web page, and to all who look on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.errors import MissingExtraError
from cascade.runtime.events.bus import MessageBus
from cascade.runtime.run_scope import RunScope

if TYPE_CHECKING:
    from cascade.runtime.page.history import History
    from cascade.runtime.watching.watch import Watch

__all__ = ["Shown", "page_server"]


class Shown:
    """The methods of an engine for those who look on."""

    bus: MessageBus
    recorder: Any
    page: Any = None
    """The server of its page, once it has one."""
    _active: dict[str, RunScope]
    _watch: Any = None

    async def ui(self, port: int = 0, *, host: str | None = None, token: str | None = None) -> str:
        """Show the engine on a web page, served on the running event loop until the engine is closed; return its URL.

        From then on the page knows of all runs of the engine, and with a `state_backend` of the recorded ones. Results
        are shown by their first letters, so calls are told of one by one: some tens of microseconds a call.
        The URL holds a token that lets a browser in: whoever has it may pause, cancel and answer, and see results.

        Args:
            port: by default a free one.
            host: the name or address by which other machines reach this one; by default the page is for this machine
                alone.
            token: what lets a browser in, 16 letters or more; by default a fresh one. With `host` it is to be given.

        Raises:
            ConnectorError: the port cannot be had, or the token is missing or too short.
            MissingExtraError: starlette or uvicorn is not installed.
        """
        if self.page is None:
            from cascade.runtime.page.history import History
            from cascade.runtime.page.sources import OwnEngine, Sources
            from cascade.runtime.steering.requests import Requests

            engine: Any = self
            history = None
            if self.recorder is not None:
                history = History(self.recorder.backend)
            sources = Sources(OwnEngine(Requests(engine).answer, "engine"), history)
            server = page_server()(sources.ask, port, host, token)
            watch = self.watching()
            watch.keeps = True
            watch.look()
            await server.start()
            self.page = _Page(server, watch, history)
        return str(self.page.server.url)

    def watching(self) -> Any:
        """Return what is known of the runs to those who look on; it listens while somebody does."""
        if self._watch is None:
            from cascade.runtime.watching.picture import picture_in
            from cascade.runtime.watching.watch import Watch

            self._watch = Watch(self.bus, self._active, picture_in)
        return self._watch


class _Page:
    """What is to be closed with an engine that shows a page."""

    def __init__(self, server: Any, watch: Watch, history: History | None) -> None:
        self.server = server
        self._watch = watch
        self._history = history

    async def close(self) -> None:
        """Close the page, and listen no more."""
        await self.server.close()
        self._watch.keeps = False
        self._watch.stop()
        if self._history is not None:
            self._history.close()


def page_server() -> Any:
    """Return the class of the server.

    Raises:
        MissingExtraError: what it needs is not installed.
    """
    try:
        from cascade.adapters.page.serving import PageServer
    except ImportError as error:
        raise MissingExtraError(
            "the web page needs starlette and uvicorn; install them: pip install cascade-py[ui]"
        ) from error
    return PageServer

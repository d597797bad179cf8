"""The command that shows the web page; needs typer."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from cascade.app.words import say
from cascade.app.writing import tell, write_out
from cascade.command.misuse import Misuse
from cascade.command.parts import State, telling

__all__ = ["add_page"]

VARIABLE = "CASCADE_UI_TOKEN"


def add_page(app: typer.Typer) -> None:
    """Add the command; what it needs is loaded when it is carried out."""

    @app.command("ui", help=say("h_ui"), epilog=say("h_exit"))
    def ui(
        state: State = None,
        port: Annotated[int, typer.Option(min=0, max=65_535, metavar="PORT", help=say("h_ui_port"))] = 0,
        host: Annotated[str | None, typer.Option(metavar="HOST", help=say("h_ui_host"))] = None,
        token: Annotated[
            str | None, typer.Option(metavar="TOKEN", envvar=VARIABLE, show_envvar=False, help=say("h_ui_token"))
        ] = None,
        browser: Annotated[bool, typer.Option("--open", help=say("h_ui_open"))] = False,
    ) -> None:
        from cascade.runtime.page.shown import page_server

        with telling():
            if host is not None and not token:
                raise Misuse(say("ui_needs_token", variable=VARIABLE))
            server = page_server()
            if not state:
                asyncio.run(_served(server, None, None, port, host, token, browser))
                return
            from cascade.command.stores import opened

            with opened(state) as backend:
                asyncio.run(_served(server, backend.backend, state, port, host, token, browser))


async def _served(
    server_class: Any,
    backend: Any,
    state: str | None,
    port: int,
    host: str | None,
    token: str | None,
    browser: bool,
) -> None:
    from cascade.runtime.page.history import History
    from cascade.runtime.page.sources import OtherEngines, Sources
    from cascade.spec.shown import without_passwords

    history = None if backend is None else History(backend, without_passwords(state or ""))
    engines = OtherEngines()
    try:
        server = server_class(Sources(engines, history).ask, port, host, token)
        await server.start()
        try:
            write_out(server.url + "\n")
            tell(say("ui_is_there") + "\n")
            if browser:
                import webbrowser

                await asyncio.to_thread(webbrowser.open, server.url)
            await server.closed()
        finally:
            await server.close()
    finally:
        engines.close()
        if history is not None:
            history.close()

"""Messages to runs: sent by whoever knows the id of a run, taken by `cs.wait_signal` in it."""

from __future__ import annotations

import asyncio
from typing import Any

from cascade.errors import StateError
from cascade.runtime.run_scope import RunScope

__all__ = ["Signals"]


class Signals:
    """The part of an engine that sends messages to its runs."""

    recorder: Any = None
    _active: dict[str, RunScope]

    async def signal(self, run_id: str, name: str, value: Any = None, id: str | None = None) -> None:
        """Send a message to a run, for a `cs.wait_signal(name)` in it; it is kept when this returns.

        With a `state_backend` the run may be one of another process, which sees it within a second, or one that goes
        on later. A message that comes before somebody waits for it is kept (10,000 at most); each is taken once, in
        the order in which they came.

        Args:
            run_id: the run's id.
            name: what the run waits for.
            value: what `cs.wait_signal` is to give; it is converted there, as that of a parameter.
            id: tells this message from others, if it might be sent twice: of one id there is one.

        Raises:
            StateError: there is no such run, or it has ended; or too many messages wait in it already.
        """
        from cascade.spec.mailbox import refuse_name

        refuse_name(name, "engine.signal")
        if id is not None and not isinstance(id, str):
            raise TypeError(f"the id of a signal is a text, not {id!r}")
        run_scope = self._active.get(run_id)
        if self.recorder is not None:
            await self.recorder.send(run_id, name, value, id)
            if run_scope is not None and run_scope.run is not None:
                mailbox_of(run_scope).tell()
            return
        if run_scope is None:
            going = ", ".join(map(repr, self._active)) or "none"
            raise StateError(f"no run {run_id!r} is going on in this engine, which records none; going on are: {going}")
        if asyncio.get_running_loop() is run_scope.loop:
            mailbox_of(run_scope).send(run_id, name, value, id)
            return

        async def sent() -> None:
            mailbox_of(run_scope).send(run_id, name, value, id)

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(sent(), run_scope.loop))

    def mailbox(self, run_id: str) -> Any:
        """Return the messages to a run of this engine that goes on; for `cs.wait_signal`."""
        return mailbox_of(self._active[run_id])


def mailbox_of(run_scope: RunScope) -> Any:
    """Return the messages to a run, made when the first is sent or waited for."""
    run = run_scope.run
    if run is not None and run.journal is not None:
        return run.journal.inbox()
    if not hasattr(run_scope, "mailbox"):
        from cascade.spec.mailbox import Mailbox

        run_scope.mailbox = Mailbox()
    return run_scope.mailbox

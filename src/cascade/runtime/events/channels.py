"""The ways of events from the bus to its subscribers, and who waits for whom.

What an async handler returns is awaited by its channel's pump: an asyncio task that takes one awaitable after
the other, and ends when none is left.

asyncio is imported inside of functions: `import cascade` must not pay for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar, copy_context
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cascade.spec.events import Event, RunFinished
from cascade.spec.notes import log_failure

if TYPE_CHECKING:
    import asyncio

EventTypes: TypeAlias = tuple[type[Event], ...]
Handler: TypeAlias = Callable[[Any], object]
Behind: TypeAlias = Callable[[], list["Channel"]]  # lists channels that somebody waits for

__all__ = ["NOBODY", "PASSING", "BatchChannel", "HandlerCall", "Channel", "StreamChannel", "Hub", "present_call"]

PASSING: Final = (GeneratorExit, KeyboardInterrupt, SystemExit)
"""What no handler's failure is: it ends what is around it."""

FLUSH_AFTER: Final = 0.010  # seconds that a batch is held back at most
TURN: Final = 0.010  # seconds that async handlers which never suspend hold the loop at most


class HandlerCall:
    """One call of an async handler, while it is at work."""

    __slots__ = ("waits_for",)

    def __init__(self) -> None:
        self.waits_for: list[str] = []  # ids of runs


present_call: Final = ContextVar[HandlerCall | None]("cascade_present_call", default=None)
"""The call that the current code belongs to; tasks that a handler starts inherit it."""


class Channel:
    """The way of events to one subscriber; this one calls a handler with each.

    One that returns an awaitable is async: from then on, events wait until the pump calls it with them.
    """

    def __init__(self, hub: Hub, event_types: EventTypes, handler: Handler) -> None:
        self.event_types = event_types
        self.handler = handler
        self._context = copy_context()
        self._name = getattr(handler, "__qualname__", None) or repr(handler)
        self._reported = False
        self.begin(hub)

    def begin(self, hub: Hub) -> None:
        """Begin, with nothing that waits."""
        self.hub = hub
        self.sink: Handler = self.handler  # what the bus calls with each event
        self.active: bool = True
        self.is_async: bool = False
        self.behind: int = 0  # events that wait for the subscriber
        self.accepted: int = 0  # calls of an async handler
        self.finished: int = 0
        self.call: HandlerCall | None = None  # the one that is at work
        self._queue: deque[tuple[Any, int]] = deque()  # what to call it with or await; how many events
        self._task: asyncio.Task[None] | None = None  # the pump

    def leave(self) -> None:
        """Let no further event through, not even a buffered one; any thread may say so."""
        if self.active:
            self.active = False
            self.sink = discard  # the event that is being published may still be on its way here
            self.behind = 0
            with suppress(IndexError):
                while True:
                    discard(self._queue.popleft()[0])
            self.hub.left()

    def report(self, error: BaseException) -> None:
        """Log the first failure of the handler."""
        if self._reported:
            return
        self._reported = True
        kinds = ", ".join(each.__name__ for each in self.event_types)
        what = f"An event handler failed: {self._name}, subscribed to {kinds}. Runs go on, and so do its calls; "
        log_failure(what + "further failures of this subscription are not reported.", error)

    # --- async handlers

    def follow(self, result: object, events: int) -> None:
        """See to what came of so many events: an awaitable, or, if the handler is async, themselves."""
        if not self.is_async and not isinstance(result, Awaitable):
            return
        try:
            self.resume()
        except RuntimeError:
            discard(result)
            raise
        self._queue.append((result, events))
        self.accepted += 1
        self.behind += events
        self._turn_async()

    def _turn_async(self) -> None:
        self.is_async = True
        if self.active:
            self.sink = itself

    def resume(self) -> None:
        """See to it that a pump is at work, on the loop that is running."""
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            message = f"the event handler {self._name} is async: publish where an event loop runs"
            raise RuntimeError(message) from None
        task = self._task
        if task is None or task.done() or task.get_loop() is not loop:
            self._end(self.call)  # another loop has left it behind
            # Not loop.create_task: a task factory may start it at once, within `publish`.
            self._task = asyncio.Task(self._pump(), loop=loop, context=self._context.copy())
            self.hub.hold(self._task)

    async def _pump(self) -> None:
        import asyncio

        task = asyncio.current_task()
        turn = monotonic() + TURN
        while task and task is self._task and not task.cancelling():
            try:
                argument, events = self._queue.popleft()
            except IndexError:
                return
            self.behind -= events
            await self._handle(argument, task)
            if monotonic() > turn:
                await asyncio.sleep(0)
                turn = monotonic() + TURN

    async def _handle(self, argument: object, task: asyncio.Task[None]) -> None:
        import asyncio

        call = self.call = HandlerCall()
        present_call.set(call)
        self.hub.moved()
        try:
            result = argument if isinstance(argument, Awaitable) else self.handler(argument)
            if isinstance(result, Awaitable):
                await result
        except PASSING:
            raise
        except asyncio.CancelledError as error:
            if task.cancelling():
                raise
            self.report(error)
        except BaseException as error:
            self.report(error)
        finally:
            self._end(call)

    def _end(self, call: HandlerCall | None) -> None:
        if call is not None and call is self.call:
            self.call = None
            self.finished += 1
            self.hub.moved()


class BatchChannel(Channel):
    """Collects events for a handler of lists."""

    def begin(self, hub: Hub) -> None:
        """Begin, with nothing that waits."""
        super().begin(hub)
        self.sink = self._collect
        self._events: list[Event] = []

    def _collect(self, event: Event) -> None:
        if self.hub.timer is None:
            self.hub.arm()
        self._events.append(event)

    def _turn_async(self) -> None:
        self.is_async = True

    def flush(self) -> None:
        """Deliver what there is."""
        events, self._events = self._events, []
        if not events or not self.active:
            return
        try:
            result = events if self.is_async else self.handler(events)
        except PASSING:
            raise
        except BaseException as error:
            self.report(error)
        else:
            self.follow(result, len(events))


class StreamChannel(Channel):
    """Buffers events for the reader of a stream, until RunFinished."""

    behind: int

    def __init__(self, hub: Hub, event_type: type[Event], run_id: str | None) -> None:
        super().__init__(hub, (event_type, RunFinished), self._put)
        self._type = event_type
        self._run_id = run_id
        self._events: deque[Event] = deque()
        self._arrived: asyncio.Event | None = None  # made by the first who has to wait

    def _put(self, event: Event) -> None:
        if self._run_id is not None and event.run_id != self._run_id:
            return
        if isinstance(event, self._type):
            self._events.append(event)
            self.behind += 1
        if isinstance(event, RunFinished):
            super().leave()  # what is buffered can still be read
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()

    async def take(self) -> Any:
        """Return the next event as soon as there is one."""
        while not self._events:
            if not self.active:
                raise StopAsyncIteration
            if self._arrived is None:
                import asyncio

                self._arrived = asyncio.Event()
            self._arrived.clear()
            await self._arrived.wait()
        self.behind -= 1
        event = self._events.popleft()
        self.hub.moved()
        return event

    def leave(self) -> None:
        """Let no further event through, not even a buffered one."""
        self._events.clear()
        super().leave()
        self._wake()

    def resume(self) -> None:
        """Do nothing: reading is the reader's business."""


class ChannelWait:
    """A run that waits for channels."""

    def __init__(self, hub: Hub, run_id: str | None, behind: Behind, future: asyncio.Future[None]) -> None:
        self._hub = hub
        self.run_id = run_id
        self._behind = behind
        self.future = future
        self.blocking: list[Channel] = []
        self._call = present_call.get()

    def look(self) -> bool:
        """See who is behind, but for handlers that wait for this very run; tell whether there is nobody."""
        self.blocking = [each for each in self._behind() if not self._is_awaited(each, set())]
        return not self.blocking

    def _is_awaited(self, channel: Channel, seen: set[HandlerCall]) -> bool:
        """Tell whether a handler is who waits here, or waits for this run, through whatever others."""
        call = channel.call
        if call is None or call in seen:
            return False
        seen.add(call)
        if call is self._call or self.run_id in call.waits_for:
            return True
        waits = [wait for wait in self._hub.waits if wait.run_id in call.waits_for]
        return any(self._is_awaited(each, seen) for wait in waits for each in wait.blocking)


class Hub:
    """The channels of a bus. They come and go from any thread; all else is the loop's."""

    def __init__(self) -> None:
        self.version: int = 0
        self.channels: tuple[Channel, ...] = ()
        self.batches: tuple[BatchChannel, ...] = ()
        self.routes: dict[type, tuple[Channel, ...]] = {}  # by the exact type of an event
        self.timer: asyncio.TimerHandle | None = None
        self.waits: tuple[ChannelWait, ...] = ()
        self._flusher = Channel(self, (), lambda _: self.flush())
        self._lock = Lock()
        self._somebody_left = False
        self._pumps: set[asyncio.Task[None]] = set()  # a loop holds its tasks but weakly

    def add(self, channel: Channel) -> None:
        """Let a channel have events from now on."""
        with self._lock:
            self._replace((*self.channels, channel))
        self._sweep()

    def left(self) -> None:
        """Take out the channels that are not active any more."""
        self._somebody_left = True
        self._sweep()
        for wait in self.waits:
            with suppress(RuntimeError):  # that loop is closed
                wait.future.get_loop().call_soon_threadsafe(self.moved)

    def _sweep(self) -> None:
        # Never waits for the lock: the garbage collector may drop a stream while this very thread holds it.
        # Who holds it sweeps afterwards.
        while self._somebody_left and self._lock.acquire(blocking=False):
            try:
                self._somebody_left = False
                self._replace(tuple(each for each in self.channels if each.active))
            finally:
                self._lock.release()

    def _replace(self, channels: tuple[Channel, ...]) -> None:
        self.channels = channels
        self.batches = tuple(each for each in channels if isinstance(each, BatchChannel))
        self.routes = {}  # after the channels, see `route`
        self.version += 1

    def route(self, event_type: type) -> tuple[Channel, ...]:
        """Find the channels for an exact type of events, and keep them in `routes`."""
        routes = self.routes  # before the channels: if they change meanwhile, this dict is not read any more
        route = tuple(each for each in self.channels if issubclass(event_type, each.event_types))
        if route and issubclass(event_type, RunFinished):
            route = (self._flusher, *route, self._flusher)  # batches come before it, and it is not held back
        routes[event_type] = route
        return route

    def flush(self) -> None:
        """Deliver what batches have collected."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for batch in self.batches:
            batch.flush()

    def arm(self) -> None:
        """See to it that batches are flushed soon, if a loop is running that can do so."""
        import asyncio

        with suppress(RuntimeError):
            self.timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self.flush)

    def hold(self, task: asyncio.Task[None]) -> None:
        """Keep a pump until it is done."""
        self._pumps.add(task)
        task.add_done_callback(self._release)

    def _release(self, task: asyncio.Task[None]) -> None:
        self._pumps.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio warns of one that nobody asked for
        self.moved(stopped=True)

    async def wait(self, run_id: str | None, behind: Behind) -> None:
        """Wait until none of the channels is behind, but for those whose handler waits for this run."""
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            wait = ChannelWait(self, run_id, behind, loop.create_future())
            if wait.look():
                return
            for each in wait.blocking:
                each.resume()
            self.waits = (*self.waits, wait)
            try:
                await wait.future
            finally:
                self.waits = tuple(each for each in self.waits if each is not wait)

    def moved(self, stopped: bool = False) -> None:
        """Wake the runs that nothing blocks any more; if a pump stopped, all: it may have to be resumed."""
        for wait in self.waits:
            if not wait.future.done() and (wait.look() or stopped):
                wait.future.set_result(None)


NOBODY: Final = Hub()
"""The hub of each bus that nobody has subscribed to."""


def discard(result: object) -> None:
    """Let go of an event, or of what will not be awaited: a coroutine would warn of that."""
    if isinstance(result, Coroutine):
        result.close()


def itself(event: Event) -> Event:
    """Leave an event to `follow`."""
    return event

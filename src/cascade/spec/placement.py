"""Where calls of a function run: what has been learned of it, and what a call site then does.

A function that nobody has timed runs in a thread. Once a call of it was seen to be short it is
*promoted*: called in place, on the event loop's thread. If it turns out slow there it is *demoted*
and has to prove itself again in threads; each relapse doubles how often.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

__all__ = ["CallForm", "Profile", "SHORT", "arguments", "forget_waiters", "placements", "profile_of"]

placements = [0]
"""Counts the moves of functions between threads and in place: code that calls in place looks again after one."""

SHORT = 50e-6
"""A call that took no more seconds than this is cheaper in place than in a thread."""
MOST_RELAPSES = 16
GOOD_SECONDS = 60.0
"""A function that was short for so long has its relapses forgotten: a busy machine can make any call look slow."""


class CallForm:
    """One way of calling one task: which arguments go by keyword, and where the call runs now.

    `inline` is the function itself where it may be called in place, else None. `seen` is the class of
    its last plain result: a result of the same class needs no look for signals.
    """

    __slots__ = (
        "__weakref__",
        "func",
        "inline",
        "is_async",
        "kept",
        "names",
        "needs",
        "plain",
        "profile",
        "seen",
        "task",
    )

    def __init__(self, task: Any, names: tuple[str, ...], profile: Profile) -> None:
        self.task: Any = task
        self.func: Any = task.func
        self.is_async: bool = task.is_async
        self.names: tuple[str, ...] = names
        self.seen: type | None = None
        self.needs: dict[int, dict[str, Any] | None] = {}
        """What `needs_behind` has returned."""
        self.kept: Any = None
        """Functions that were emitted for what this call is the end of, by their shape."""
        self.plain: bool = task.is_plain and not task.pure
        self.profile: Profile = profile
        self.inline: Callable[..., Any] | None = None
        if not task.is_async:
            if task.mode == "inline":
                self.inline = task.func
            elif task.mode == "auto":
                profile.follow(self)

    def needs_behind(self, placed: int) -> dict[str, Any] | None:
        """Return the resources that stand in for arguments which are not given, by their names.

        None where one of them cannot be given by name.

        Args:
            placed: how many arguments are given by position.
        """
        if placed not in self.needs:
            task, shape = self.task, self.task.shape
            given = {*shape.names[:placed], *self.names}
            found = {name: wanted for name, wanted in task.needs.items() if name not in given}
            self.needs[placed] = None if found.keys() & {*shape.names[: shape.only]} else found
        return self.needs[placed]


def arguments(form: CallForm, values: Any) -> tuple[Any, dict[str, Any]]:
    """Split values in the order of a call form into positional ones and keywords."""
    names = form.names
    if not names:
        return values, {}
    split = len(values) - len(names)
    return values[:split], dict(zip(names, values[split:], strict=True))


class Profile:
    """What is known of one function's speed, shared by all tasks made of it."""

    __slots__ = ("__weakref__", "_forms", "inline", "measured", "owed", "promoted", "relapses", "started", "waiters")

    def __init__(self) -> None:
        self.inline: bool = False
        self.measured: bool = False
        self.started: float | None = None
        """When the first call that has not been measured yet went out (monotonic seconds)."""
        self.owed: int = 1
        """How many short calls in a row are still needed for promotion."""
        self.relapses: int = 0
        self.promoted: float = 0.0
        """When it last began to be called in place (monotonic seconds)."""
        self.waiters: list[Any] = []
        """Futures of those who wait for the first measure."""
        self._forms: weakref.WeakSet[CallForm] = weakref.WeakSet()

    def follow(self, form: CallForm) -> None:
        """Keep `form.inline` in step with what is learned."""
        self._forms.add(form)
        form.inline = form.func if self.inline else None

    def learn(self, seconds: float) -> None:
        """Take in how long one call in a thread took; a short one counts towards promotion."""
        self.measured = True
        self.started = None
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:  # each on the loop that it belongs to
            with suppress(RuntimeError):  # that loop has closed: nobody waits any more
                waiter.get_loop().call_soon_threadsafe(_wake, waiter)
        if self.inline:
            return
        if seconds > SHORT:
            self.owed = 1 << self.relapses
            return
        self.owed -= 1
        if self.owed <= 0:
            self._move(True)

    def demote(self) -> None:
        """Send the function back to threads: a call in place held the loop."""
        if self.inline:
            if monotonic() - self.promoted > GOOD_SECONDS:
                self.relapses = 0
            self.relapses = min(self.relapses + 1, MOST_RELAPSES)
            self.owed = 1 << self.relapses
            self._move(False)

    def _move(self, inline: bool) -> None:
        self.inline = inline
        self.promoted = monotonic()
        placements[0] += 1
        for form in self._forms:
            form.inline = form.func if inline else None


def _wake(waiter: Any) -> None:
    if not waiter.done():
        waiter.set_result(None)


_profiles: weakref.WeakKeyDictionary[Any, Profile] = weakref.WeakKeyDictionary()


def forget_waiters() -> None:
    """Forget, in a forked child, the calls that are out in the parent and who waits for them."""
    for profile in list(_profiles.values()):
        profile.started = None
        profile.waiters = []


def profile_of(func: Any) -> Profile:
    """Return the profile of `func`: one for the function, whatever tasks are made of it."""
    try:
        found = _profiles.get(func)
        if found is None:
            found = _profiles.setdefault(func, Profile())
    except TypeError:  # cannot be hashed or referenced weakly: nobody else can ask for it either
        return Profile()
    return found

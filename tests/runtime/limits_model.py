"""What limits and constraints mean, in the plainest code: the model that the real thing is compared with.

It looks at every waiting call, one after the other, whenever anything happens, and counts tokens in fractions.
"""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Literal

Time = Fraction
Kind = Literal["pause", "concurrency", "rate"]


@dataclass(eq=False)
class Call:
    name: str
    needs: dict[str, int]
    inside: bool = False
    """Part of something that runs already, so it comes before those who are not."""
    state: Literal["waiting", "running", "over"] = "waiting"


@dataclass
class Tokens:
    level: Fraction
    rate: Fraction
    burst: int | None = None

    @property
    def most(self) -> Fraction:
        return max(Fraction(1), self.rate) if self.burst is None else Fraction(self.burst)


@dataclass
class Model:
    capacities: dict[str, int]
    now: Time
    calls: list[Call] = field(default_factory=list)
    """In the order in which they came."""
    limits: dict[tuple[str, Kind], tuple[Fraction, Time | None]] = field(default_factory=dict)
    tokens: dict[str, Tokens] = field(default_factory=dict)

    # --- what happens

    def add(self, name: str, needs: dict[str, int], inside: bool = False) -> Call:
        call = Call(name, needs, inside)
        self.calls.append(call)
        self.let_in()
        return call

    def end(self, call: Call) -> None:
        call.state = "over"
        self.calls.remove(call)
        self.let_in()

    def put(self, scope: str, kind: Kind, value: Fraction, ttl: Time | None, burst: int | None = None) -> None:
        self.limits[scope, kind] = value, None if ttl is None else self.now + ttl
        if kind == "rate":
            kept = self.tokens.get(scope)
            new = self.tokens[scope] = Tokens(Fraction(0), value, burst)
            new.level = new.most if kept is None else min(kept.level, new.most)
        self.let_in()

    def drop(self, scope: str, *kinds: Kind) -> None:
        self._drop(scope, *kinds)
        self.let_in()

    def _drop(self, scope: str, *kinds: Kind) -> None:
        for kind in kinds:
            self.limits.pop((scope, kind), None)
            if kind == "rate":
                self.tokens.pop(scope, None)

    def advance(self, seconds: Time) -> None:
        until = self.now + seconds
        while True:
            step = min([until, *self._ends(), *self._next_tokens()])
            for tokens in self.tokens.values():
                tokens.level = min(tokens.most, tokens.level + tokens.rate * (step - self.now))
            self.now = step
            for (scope, kind), (_, end) in list(self.limits.items()):
                if end is not None and end <= step:
                    self._drop(scope, kind)
            self.let_in()
            if step == until:
                return

    def _ends(self) -> list[Time]:
        return [end for _, end in self.limits.values() if end is not None]

    def _next_tokens(self) -> list[Time]:
        missing = [(t, int(t.level) + 1 - t.level) for t in self.tokens.values() if int(t.level) + 1 <= t.most]
        return [self.now + much / t.rate for t, much in missing]

    # --- who may start

    def scopes(self, name: str) -> list[str]:
        """The scopes that a task is in: its own in a fixed order, `global` last."""
        own = {scope for scope, _ in self.limits if scope != "global" and fnmatchcase(name, scope[5:])}
        return [*sorted(own), *(["global"] if any(scope == "global" for scope, _ in self.limits) else [])]

    def running(self, scope: str) -> int:
        here = [call for call in self.calls if call.state == "running"]
        return len(here) if scope == "global" else sum(fnmatchcase(call.name, scope[5:]) for call in here)

    def free(self, name: str) -> int:
        held = sum(call.needs.get(name, 0) for call in self.calls if call.state == "running")
        return self.capacities[name] - held

    def is_open(self, scope: str, spoken: int) -> bool:
        most = self.limits.get((scope, "concurrency"))
        if most is not None and self.running(scope) + spoken >= most[0]:
            return False
        return scope not in self.tokens or self.tokens[scope].level >= 1 + spoken

    def let_in(self) -> None:
        while self._let_one_in():
            pass

    def _let_one_in(self) -> bool:
        """Let the first in who may start, if there is one."""
        spoken: dict[str, int] = {}
        held: set[str] = set()
        kinds: set[object] = set()
        waiting = [call for call in self.calls if call.state == "waiting"]
        for call in sorted(waiting, key=lambda call: not call.inside):
            scopes = self.scopes(call.name)
            kind = (tuple(scopes), frozenset(call.needs), call.inside)
            if kind in kinds:  # it stands behind one that wants the same
                continue
            kinds.add(kind)
            if any((scope, "pause") in self.limits for scope in scopes):
                continue
            passed: list[str] = []
            own = [scope for scope in scopes if scope != "global"]
            for stage in [*own, None, *(["global"] if "global" in scopes else [])]:
                if stage is not None:
                    if not self.is_open(stage, spoken.get(stage, 0)):
                        break
                    passed.append(stage)
                elif held & set(call.needs) or any(need > self.free(name) for name, need in call.needs.items()):
                    held |= set(call.needs)
                    break
            else:
                call.state = "running"
                for scope in scopes:
                    if scope in self.tokens:
                        self.tokens[scope].level -= 1
                return True
            if len(passed) == len(own):
                held |= set(call.needs)
            for scope in passed:
                spoken[scope] = spoken.get(scope, 0) + 1
        return False

"""Programs that are killed, and the process that starts them: `python -m tests.runtime.kills`.

It reads one JSON object a line: a `seed` (which program; `apart`: one with worker processes and commands; `talks`: one
whose tasks talk by channels), the files
`store` and `log`, a `durability`, and how it is to die: `after` so many seconds, or `at` so many places in the code, or
neither; and `sends`: how many of its messages it is sent after how many seconds (all, if that is not said). It forks,
runs the program on the store, and answers with a line: how the process ended, how long it took, and the result. Nothing
but the fork is shared with another start, so each is a process of its own, and none has to import anything.

Every body appends a line to the log when it begins and when it ends. What it returns says who has computed it (`by`),
so what is in the store tells which bodies must not be called again.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import sqlite3
import sys
import time
import zlib
from collections.abc import Callable
from itertools import count
from typing import Any

import cascade as cs
from cascade.adapters.state import SqliteBackend
from cascade.adapters.state.codec import encode
from cascade.errors import StateError
from cascade.providers.shell import ShellResult
from cascade.runtime import Engine
from cascade.runtime.changes.fingerprint import code_of
from cascade.runtime.journal import writer
from cascade.runtime.journal.recorder import recorder_from as recorder_from

Work = dict[str, Any]
places = 0
"""How many places of the code are left until the process dies; 0: it lives."""
log = -1
read: Callable[[Any], None] | None = None
"""Is told what a body is given when it begins."""
starts = count()
"""Numbers the programs of this process."""


def place() -> None:
    """Die here, if this is the place."""
    global places
    places -= 1
    if places == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def write(what: str, name: str, *given: Any) -> None:
    if read is not None and given:
        read(given)
    os.write(log, f"{what} {name}\n".encode())
    place()


def pause(name: str) -> float:
    """Return how long a body takes, always the same for one name."""
    return (zlib.crc32(name.encode()) % 5) / 2000


def number(*given: Any) -> int:
    return sum(each["n"] if isinstance(each, dict) else each or 0 for each in given)


def gave(name: str, *given: Any) -> Work:
    return {"by": [name], "n": (zlib.crc32(name.encode()) + 3 * number(*given)) % 1_000_003}


@cs.task
async def step(name: str, *given: Any) -> Work:
    write("begin", name, *given)
    await asyncio.sleep(pause(name))
    write("end", name)
    return gave(name, *given)


@cs.task
def quick(name: str, *given: Any) -> Work:
    write("begin", name, *given)
    write("end", name)
    return gave(name, *given)


@cs.task(mode="blocking")
def slow(name: str, *given: Any) -> Work:
    write("begin", name, *given)
    time.sleep(pause(name))
    write("end", name)
    return gave(name, *given)


@cs.task(mode="process")
def far(name: str, path: str, *given: Any) -> Work:
    """A step in a process of its own, which has to open the log."""
    lines = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(lines, f"begin {name}\n".encode())
    time.sleep(pause(name))
    os.write(lines, f"end {name}\n".encode())
    os.close(lines)
    return gave(name, *given)


COMMAND = 'echo "begin $0" >> "$1"; sleep 0.01; echo "end $0" >> "$1"; echo "$0"'


@cs.task
def said(result: ShellResult) -> Work:
    return {**gave(result.stdout.strip()), "by": []}


@cs.task
def spinning(n: int, total: int) -> cs.Jump:
    """One entry of a loop that is recorded by the turn, and not in the log."""
    place()
    return cs.Jump("on", {"n": n - 1, "total": (3 * total + n) % 1_000_003}) if n else cs.Jump("out", total)


@cs.task(record=False)
async def again(name: str, *given: Any) -> Work:
    """Is not recorded, and may be called in each start."""
    write("begin", f"{name}?")
    await asyncio.sleep(pause(name))
    return {**gave(name, *given), "by": []}


@cs.task
async def flaky(name: str, *given: Any) -> Work:
    """Fails until it was begun three times, of which the log outside tells."""
    write("try", name)
    await asyncio.sleep(pause(name))
    with open(f"/proc/self/fd/{log}", encoding="utf-8") as file:
        if sum(line == f"try {name}\n" for line in file) < 3:
            raise OSError("not yet")
    write("end", name)
    return gave(name, *given)


@cs.task
async def turn(name: str, left: int, by: tuple[str, ...] = (), total: Any = 0) -> Any:
    """One entry of a loop; carries who has computed the entries before."""
    here = f"{name}@{left}"
    write("begin", here)
    await asyncio.sleep(pause(here) / 2)
    write("end", here)
    total = gave(here, total)["n"]
    if left:
        return cs.Jump("on" if left % 2 else "off", {"left": left - 1, "by": (*by, here), "total": total})
    return {"by": [*by, here], "n": total}


@cs.task
def spin(name: str, left: int, by: tuple[str, ...] = (), total: int = 0) -> Any:
    """The same by tail calls, in place."""
    here = f"{name}@{left}"
    write("begin", here)
    write("end", here)
    total = gave(here, total)["n"]
    return cs.TailCall([name, left - 1, (*by, here), total]) if left else {"by": [*by, here], "n": total}


@cs.task
async def hop(name: str, to: str) -> Any:
    """Leads to another program, sooner or later than others do."""
    write("begin", f"{name}>")
    await asyncio.sleep(random.random() / 300)
    write("end", f"{name}>")
    return cs.TailCall([name], target_blueprint_id=to)


@cs.task
async def anew(name: str) -> Work:
    """A step of a program that several tail calls lead to: each has one of its own."""
    here = f"{name}-{random.random()}"
    write("begin", here)
    await asyncio.sleep(random.random() / 300)
    write("end", here)
    return {"by": [here], "n": 1}


@cs.task
async def tells(name: str, channel: str, count: int, *given: Any) -> Work:
    """Sends many messages in one step."""
    write("begin", name, *given)
    line = cs.channel(channel, capacity=3)
    for at in range(count):
        place()
        await line.send([name, at])
    write("end", name)
    return {**gave(name, *given), "told": [name, count]}


@cs.task
async def says(name: str, channel: str, count: int, given: Any, at: int = 0, by: tuple[str, ...] = ()) -> Any:
    """Sends a message in each entry of a loop."""
    here = f"{name}@{at}"
    write("begin", here)
    await cs.channel(channel, capacity=3).send([name, at])
    place()
    write("end", here)
    if at < count - 1:
        return cs.Jump("on", {"given": given, "at": at + 1, "by": (*by, here)})
    return {**gave(name, given), "by": [*by, here], "told": [name, count]}


@cs.task
async def closes(name: str, channel: str, *given: Any) -> Work:
    write("begin", name, *given)
    cs.channel(channel, capacity=3).close()
    write("end", name)
    return gave(name, *given)


@cs.task
async def passes(name: str, channel: str, to: str, at: int = 0, by: tuple[str, ...] = ()) -> Any:
    """Passes on a message in each entry of a loop."""
    here = f"{name}@{at}"
    write("begin", here)
    try:
        message = await cs.channel(channel, capacity=3).receive()
    except cs.ChannelError:
        cs.channel(to).close()
        write("end", here)
        return {"by": [*by, here], "n": 0}
    place()
    await cs.channel(to).send(message)
    write("end", here)
    return cs.Jump("on", {"at": at + 1, "by": (*by, here)})


@cs.task
async def hears(name: str, channel: str) -> Work:
    """Receives many messages in one step."""
    write("begin", name)
    heard = []
    async for message in cs.channel(channel):
        place()
        heard.append(message)
    write("end", name)
    return {"by": [name], "n": 0, "heard": heard}


@cs.task
def compared(name: str, heard: list[Work], *told: Work) -> Work:
    """Says how often messages were lost, doubled, or in another order than they were sent in."""
    write("begin", name, *told)
    wrong = 0
    for each in heard:
        for sender in {who for who, _ in each["heard"]}:
            mine = [at for who, at in each["heard"] if who == sender]
            wrong += mine != sorted(mine)
    found = sorted([who, at] for each in heard for who, at in each["heard"])
    wrong += found != sorted([each["told"][0], at] for each in told for at in range(each["told"][1]))
    write("end", name)
    return {**gave(name, *told), **({"n": -wrong} if wrong else {})}


@cs.task
def is_even(given: Work) -> bool:
    return bool(given["n"] % 2 == 0)


@cs.task
def number_of(given: Work) -> int:
    return int(given["n"])


class Program:
    """A program drawn at random; the same of the same seed."""

    def __init__(self, seed: int, log: str = "", apart: bool = False, talks: bool = False) -> None:
        self.random = random.Random(seed)
        self.log = log
        self.count = 0
        self.start = next(starts)
        self.blueprints: dict[str, Any] = {}
        """What its tail calls lead to."""
        self.messages: list[tuple[str, Work]] = []
        """What it waits for, in the order in which it is sent: names and values."""
        self.shapes: list[Callable[[Any, int], Any]] = [
            *(self.chain, self.fan, self.map, self.map_of_loops, self.stream, self.jumps, self.states, self.tail_calls),
            *(self.router, self.sub_flow, self.retries, self.unrecorded, self.failing_items, self.inner_loop),
            *(self.hops, self.waits, self.signals, self.signals_of_a_loop, self.map_of_tail_calls, self.turns),
        ]
        if apart:
            self.shapes = [self.process, self.processes, self.command, self.commands, self.map, self.jumps]
        if talks:
            self.shapes = [self.talk, self.talk, self.jumps, self.retries]

    def name(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def target(self) -> Any:
        given: Any = 1
        for _ in range(self.random.randint(2, 3)):
            given = self.part(given, 2)
        return quick(self.name(), given)

    def part(self, given: Any, depth: int) -> Any:
        return self.random.choice(self.shapes)(given, depth)

    def task(self) -> Any:
        return self.random.choice([step, quick, slow])

    def chain(self, given: Any, depth: int) -> Any:
        for _ in range(3):
            given = self.task()(self.name(), given)
        return given

    def fan(self, given: Any, depth: int) -> Any:
        parts = [self.part(given, depth - 1) if depth else self.task()(self.name(), given) for _ in range(2)]
        return quick(self.name(), *parts)

    def map(self, given: Any, depth: int) -> Any:
        names = [self.name() for _ in range(self.random.choice([3, 8, 30]))]
        options = self.random.choice([{}, {"concurrency": 2}])
        mapped = self.task().map({"name": names}, **options)
        return quick(self.name(), given, cs.task(total)(mapped))

    def turns(self, given: Any, depth: int) -> Any:
        state = spinning(self.random.choice([40, 400]), 1 if given == 1 else number_of(given))
        cs.bind(state, cs.select_jump({"on": state, "out": None}), checkpoint=self.random.choice([None, "turn"]))
        return quick(self.name(), given, cs.task(counted)(state))

    def talk(self, given: Any, depth: int) -> Any:
        """Return what many send, one passes on, and some receive."""
        channel, other, many = self.name(), self.name(), self.random.choice
        told = [tells(self.name(), channel, many([1, 4, 20]), given) for _ in range(many([1, 2]))]
        for _ in range(many([1, 2])):
            told.append(says(self.name(), channel, many([1, 3, 9]), given))
            cs.bind(told[-1], cs.select_jump({"on": told[-1]}))
        passed = passes(self.name(), channel, other)
        cs.bind(passed, cs.select_jump({"on": passed}))
        heard = [hears(self.name(), other) for _ in range(many([1, 3]))]
        name, closed = self.name(), closes(self.name(), channel, *told)
        return quick(name, compared(self.name(), heard, *told), closed, passed)

    def process(self, given: Any, depth: int) -> Any:
        return far(self.name(), self.log, given)

    def processes(self, given: Any, depth: int) -> Any:
        mapped = far.partial(path=self.log).map(name=[self.name() for _ in range(4)])
        return quick(self.name(), given, cs.task(total)(mapped))

    def command(self, given: Any, depth: int) -> Any:
        result = cs.shell(["sh", "-c", COMMAND, self.name(), self.log])
        return quick(self.name(), given, said(result.after(given) if given != 1 else result))

    def commands(self, given: Any, depth: int) -> Any:
        return quick(self.name(), *(self.command(given, depth) for _ in range(3)))

    def stream(self, given: Any, depth: int) -> Any:
        name = self.name()

        async def names() -> Any:
            for i in range(6):
                await asyncio.sleep(0)
                yield f"{name}.{i}"

        return quick(self.name(), given, cs.task(total)(step.map(name=names(), window=3)))

    def failing_items(self, given: Any, depth: int) -> Any:
        names = [self.name() for _ in range(6)]
        name = self.name()

        @cs.task
        async def item(name: str, i: int) -> Work:
            write("begin", name)
            await asyncio.sleep(pause(name))
            if i % 3 == 0:
                raise ValueError(name)
            write("end", name)
            return gave(name)

        mapped = item.map(name=names, i=range(6), on_error=self.lets_fail())
        return quick(name, given, cs.task(total)(mapped))

    def lets_fail(self) -> Any:
        return self.random.choice(["skip", "collect"])

    def map_of_loops(self, given: Any, depth: int) -> Any:
        mapped = turn.map(name=[self.name() for _ in range(4)], left=[2, 5, 1, 3])
        cs.bind(mapped, cs.select_jump({"on": mapped, "off": mapped}))
        return quick(self.name(), given, cs.task(total)(mapped))

    def jumps(self, given: Any, depth: int) -> Any:
        state = turn(self.name(), self.random.choice([4, 9]), (), given)
        cs.bind(state, cs.select_jump({"on": state, "off": state}))
        return state

    def states(self, given: Any, depth: int) -> Any:
        name = self.name()
        one = turn(name, 7, (), given)
        other = turn(name, 0)
        routes = cs.select_jump({"on": one, "off": other})
        cs.bind(one, routes)
        cs.bind(other, routes)
        return one

    def hops(self, given: Any, depth: int) -> Any:
        to = self.name()
        self.blueprints[to] = step(cs.Param("name", default="?", type=str), anew(f"{to}.a"))
        mapped = hop.partial(to=to).map(name=[self.name() for _ in range(4)])
        return quick(self.name(), given, cs.task(total)(mapped), *(hop(self.name(), to) for _ in range(2)))

    def map_of_tail_calls(self, given: Any, depth: int) -> Any:
        mapped = spin.map(name=[self.name() for _ in range(4)], left=[2, 5, 1, 3])
        return quick(self.name(), given, cs.task(total)(mapped))

    def waits(self, given: Any, depth: int) -> Any:
        return quick(self.name(), given, cs.wait(self.random.choice([0.003, 0.02])))

    def message(self, name: str) -> None:
        self.messages.append((name, gave(f"{name}!{len(self.messages)}")))

    def signals(self, given: Any, depth: int) -> Any:
        name = self.name()
        self.message(name)
        self.message(name)
        first = cs.wait_signal(name)
        return quick(self.name(), given, step(self.name(), first, cs.wait_signal(name).after(first)))

    def signals_of_a_loop(self, given: Any, depth: int) -> Any:
        name = self.name()
        for _ in range(4):
            self.message(name)
        return self.loop_around(cs.wait_signal(name), given)

    def inner_loop(self, given: Any, depth: int) -> Any:
        """Return a loop each entry of which needs a loop of its own."""
        name, seen = self.name(), iter(range(1000))

        @cs.task
        def fresh() -> str:
            return f"{name}.{next(seen)}-{os.getpid()}.{self.start}"

        @cs.task
        def counted(each: Work) -> Work:
            return {**each, "n": len(each["by"])}

        return counted(self.loop_around(spin(fresh(), 3), given))

    def loop_around(self, inner: Any, given: Any) -> Any:
        """Return a loop of four entries, each of which needs another value of a node."""
        name = self.name()

        @cs.task
        async def outer(inner: Work, left: int, by: tuple[str, ...] = (), total: Any = 0) -> Any:
            here = f"{name}@{left}"
            write("begin", here)
            await asyncio.sleep(pause(here) / 2)
            write("end", here)
            total = gave(here, inner, total)["n"]
            data = {"left": left - 1, "by": (*by, here), "total": total}
            return cs.Jump("on", data) if left else {"by": [*by, here], "n": total}

        state = outer(inner, 3, (), given)
        cs.bind(state, cs.select_jump({"on": state}))
        return state

    def tail_calls(self, given: Any, depth: int) -> Any:
        return spin(self.name(), self.random.choice([3, 40]), (), number_of(given) if given != 1 else 1)

    def router(self, given: Any, depth: int) -> Any:
        given = step(self.name(), given)
        routes = {True: self.chain(given, 0), False: self.task()(self.name(), given)}
        return cs.Router(is_even(given), routes)

    def sub_flow(self, given: Any, depth: int) -> Any:
        given = step(self.name(), given)
        param: Any = cs.Param("given", type=dict)
        inner = self.part(param, depth - 1) if depth else self.chain(param, 0)
        return cs.subflow(inner, params={"given": given})

    def retries(self, given: Any, depth: int) -> Any:
        return flaky(self.name(), given).with_retry(9, delay=0.002)

    def unrecorded(self, given: Any, depth: int) -> Any:
        return self.task()(self.name(), again(self.name(), given))

    async def run(self, engine: Engine, target: Any, sends: bool) -> Any:
        """Run it, and send it what it waits for, if nobody else does."""
        for key, other in self.blueprints.items():
            engine.register_blueprint(key, other)
        run = engine.start(target, run_id="r")
        for at, (name, value) in enumerate(self.messages if sends else ()):
            while run.status == "Running":
                try:
                    await engine.signal("r", name, value, id=str(at))
                    break
                except StateError as error:
                    if "failed for" in str(error):  # the run ends
                        return await run
                    await asyncio.sleep(0.001)  # it does not go on yet
        return await run


def counted(given: int) -> Work:
    return {"by": [], "n": given}


def total(given: list[Any]) -> int:
    return sum(each["n"] if isinstance(each, dict) else 7 for each in given)


class Deadly(SqliteBackend):
    """A store that a process may die in: before and behind each of its transactions."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("open", "find", "create", "take", "steps", "signals", "commit", "commit_now"):
            return found

        def asked(*args: Any) -> Any:
            place()
            answer = found(*args)
            place()
            return answer

        return asked


def start(order: dict[str, Any], program: Program, target: Any) -> Any:
    """Run a program in this process; return its value."""
    global log, places
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    places = order.get("at", 0)
    random.seed()
    writer.LOOK = 0.002
    store: Any = None if order["store"] is None else Deadly(order["store"], order["durability"])

    async def main() -> Any:
        async with asyncio.timeout(60), Engine(state_backend=store, durability=order["durability"]) as engine:
            return await program.run(engine, target, store is None)

    return asyncio.run(main())


def start_here(seed: int, store: Any, durability: Any = "group") -> Any:
    """Run a program in this process, where nothing kills it."""
    program = Program(seed)
    target = program.target()

    async def main() -> Any:
        async with asyncio.timeout(60), Engine(state_backend=store, durability=durability) as engine:
            return await program.run(engine, target, True)

    return asyncio.run(main())


def fork(order: dict[str, Any]) -> dict[str, Any]:
    """Run a program in a process of its own, send it messages, and kill it when it is time."""
    program = Program(order["seed"], order["log"], order.get("apart", False), order.get("talks", False))
    target = program.target()
    reading, writing = os.pipe()
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            answer = {"value": start(order, program, target)}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    if order["store"] is not None:
        for seconds, many in order.get("sends", ()):
            time.sleep(max(0.0, began + seconds - time.perf_counter()))
            send(order["store"], program.messages[:many])
        while "sends" not in order and not select.select([reading], [], [], 0.002)[0]:
            if send(order["store"], program.messages):
                break
    if "after" in order:
        time.sleep(max(0.0, began + order["after"] - time.perf_counter()))
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading, "rb") as file:
        told = file.read()
    _, status = os.waitpid(pid, 0)
    answer = json.loads(told) if told else {}
    return {
        **answer,
        "messages": len(program.messages),
        "killed": os.WIFSIGNALED(status),
        "seconds": time.perf_counter() - began,
    }


def send(path: str, messages: list[tuple[str, Work]]) -> bool:
    """Send messages to the run in a store, each of them once however often this is called; False if there is none."""
    if not messages or not os.path.exists(path):
        return not messages
    store = SqliteBackend(path)
    try:
        store.open()
        for at, (name, value) in enumerate(messages):
            store.send("r", name, encode(value), str(at))
    except (StateError, sqlite3.Error):
        return False
    finally:
        store.close()
    return True


def warm_up() -> None:
    """Have loaded what each start needs, and the code of the tasks looked at."""
    for each in [*globals().values()]:
        if isinstance(each, cs.Task):
            code_of(each)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a worker or a command writes is no answer
    warm_up()
    for line in sys.stdin:
        answers.write(json.dumps(fork(json.loads(line))) + "\n")
        answers.flush()

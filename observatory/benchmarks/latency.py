"""The row about turns: how long a web request takes in a process that computes, against a thread that spins by hand."""

import asyncio
import contextlib
import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import cascade as cs
from observatory.benchmarks.harness import Line, row

SECONDS = 2.0
ITEMS = 30_000_000
CLIENT = """
import http.client, json, sys, time
port, seconds = int(sys.argv[1]), float(sys.argv[2])
client, taken = http.client.HTTPConnection("127.0.0.1", port), []
end = time.perf_counter() + seconds
while (start := time.perf_counter()) < end:
    client.request("GET", "/")
    client.getresponse().read()
    taken.append((time.perf_counter() - start) * 1e3)
taken = sorted(taken[5:])
print(json.dumps([taken[len(taken) // 2], taken[int(0.99 * (len(taken) - 1))]]))
"""


@cs.task
def spin(n: int) -> Any:
    return cs.Jump("again", n + 1)


@cs.task
def add(x: int) -> int:
    return x + 1


def endless() -> Any:
    step = spin(0)
    return cs.bind(step, cs.select_jump({"again": step}))


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with little."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"1"})


@contextlib.contextmanager
def burning() -> Iterator[None]:
    """Have a thread count for as long as this goes on."""
    is_over = False

    def burn() -> None:
        count = 0
        while not is_over:
            count += 1

    thread = threading.Thread(target=burn)
    thread.start()
    try:
        yield
    finally:
        is_over = True
        thread.join()


async def measured(kind: str) -> list[float]:
    """Return the median and the 99th percentile of requests beside some work, in milliseconds."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", loop="none", lifespan="off"))
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    targets = {"one": [endless()], "four": [endless() for _ in range(4)], "map": [add.map(x=range(ITEMS))]}
    runs = [asyncio.ensure_future(cs.arun(target)) for target in targets.get(kind, ())]
    with burning() if kind == "thread" else contextlib.nullcontext():
        await asyncio.sleep(0.3)
        command = (sys.executable, "-c", CLIENT, str(port), str(SECONDS))
        client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        told, _ = await client.communicate()
    for run in runs:
        run.cancel()
    await asyncio.gather(*runs, return_exceptions=True)
    server.should_exit = True
    await serving
    found: list[float] = json.loads(told)
    return found


async def in_process(kind: str, loop: str) -> list[float]:
    """Measure in a process of its own."""
    command = (sys.executable, "-m", "observatory.benchmarks.latency", kind, loop)
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await child.communicate()
    found: list[float] = json.loads(told)
    return found


@row("latency", processes=1)
async def latency() -> list[Line]:
    """A request beside a hot loop, four of them, and a map, against one beside a thread that spins by hand."""
    lines = []
    for loop in ("asyncio", "uvloop") if importlib.util.find_spec("uvloop") else ("asyncio",):
        for kind, what in (("one", "a hot loop"), ("four", "four hot loops"), ("map", f"a map of {ITEMS:,}")):
            by_hand, ours = await in_process("thread", loop), await in_process(kind, loop)
            for at, which in enumerate(("p50", "p99")):
                ratio = ours[at] / by_hand[at]
                name = f"request beside {what}, {which}, {loop}"
                figures = (ours[at], by_hand[at], ratio, ratio, ratio)
                lines.append(Line(name, "ms", *figures, "<= 1", ratio <= 1.0, ratio))
    return lines


if __name__ == "__main__":
    if sys.argv[2] == "uvloop":
        import uvloop

        print(json.dumps(uvloop.run(measured(sys.argv[1]))))
    else:
        print(json.dumps(asyncio.run(measured(sys.argv[1]))))

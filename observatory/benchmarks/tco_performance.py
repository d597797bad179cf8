"""How many nodes a second loops run at, and what a step costs beyond the same loop written by hand.

    python observatory/benchmarks/tco_performance.py [--iterations N] [--repeats N]

Each repeat declares its graphs afresh and runs them on one engine, each next to its hand-written twin. First a
check run counts, call by call, what an iteration executes: the figures rest on that and not on arithmetic.
"""

import argparse
import asyncio
import functools
import platform
import time
from pathlib import Path
from statistics import median

import cascade as cs
from cascade import Jump, TailCall

CHAIN = 21  # tasks in a row that feed each step of the heavy loop

# --- the tasks


@cs.task
def noop(_dummy=None):
    return "done"


@cs.task
def step(n):
    if n <= 1:
        return Jump("exit", "done")
    return Jump("again", n - 1)


@cs.task
def heavy_step(n, _structure=None):
    if n <= 1:
        return Jump("exit", "done")
    return Jump("again", n - 1)


@cs.task
def tail_step(n):
    if n <= 1:
        return "done"
    return TailCall(kwargs={"n": n - 1})


# --- the graphs; each has exactly n iterations


def looped(first):
    return cs.bind(first, cs.select_jump({"again": first, "exit": None}))


def simple_loop(n, step=step):
    return looped(step(n))


def heavy_loop(n, step=heavy_step, noop=noop):
    value = noop()
    for _ in range(CHAIN - 1):
        value = noop(_dummy=value)
    return looped(step(n, _structure=value))


def tail_loop(n, step=tail_step):
    return step(n=n)


# --- the same by hand, with signals of its own


class OwnJump:
    __slots__ = ("data", "target_key")

    def __init__(self, target_key, data=None):
        self.target_key = target_key
        self.data = data


class OwnTailCall:
    __slots__ = ("args", "kwargs", "target_blueprint_id")

    def __init__(self, args=(), kwargs=None, target_blueprint_id=None):
        self.args = args
        self.kwargs = {} if kwargs is None else kwargs
        self.target_blueprint_id = target_blueprint_id


def plain_noop(_dummy=None):
    return "done"


def plain_step(n):
    if n <= 1:
        return OwnJump("exit", "done")
    return OwnJump("again", n - 1)


def plain_heavy_step(n, _structure=None):
    if n <= 1:
        return OwnJump("exit", "done")
    return OwnJump("again", n - 1)


def plain_tail_step(n):
    if n <= 1:
        return "done"
    return OwnTailCall(kwargs={"n": n - 1})


def simple_by_hand(n):
    while True:
        jump = plain_step(n)
        if jump.target_key == "exit":
            return jump.data
        n = jump.data


def heavy_by_hand(n):
    while True:
        value = plain_noop()
        for _ in range(CHAIN - 1):
            value = plain_noop(_dummy=value)
        jump = plain_heavy_step(n, _structure=value)
        if jump.target_key == "exit":
            return jump.data
        n = jump.data


def tail_by_hand(n):
    kwargs = {"n": n}
    while True:
        result = plain_tail_step(**kwargs)
        if result.__class__ is not OwnTailCall:
            return result
        kwargs.update(result.kwargs)


async def sleep_loop(n):
    for _ in range(n):
        await asyncio.sleep(0)
    return "done"


# --- counting


def counted(task, calls):
    """Return a task like `task` that counts its calls."""

    @functools.wraps(task.func)
    def counting(*args, **kwargs):
        calls[task.name] = calls.get(task.name, 0) + 1
        return task.func(*args, **kwargs)

    return cs.task(counting)


async def calls_per_iteration(engine, n=500):
    """Run each loop with tasks that count, and return how many tasks an iteration calls."""
    calls = {}
    assert await engine.run(simple_loop(n, counted(step, calls))) == "done"
    assert calls == {"step": n}, calls
    calls = {}
    assert await engine.run(heavy_loop(n, counted(heavy_step, calls), counted(noop, calls))) == "done"
    assert calls == {"noop": CHAIN * n, "heavy_step": n}, calls
    heavy = sum(calls.values()) // n
    calls = {}
    assert await engine.run(tail_loop(n, counted(tail_step, calls)), use_vm=True) == "done"
    assert calls == {"tail_step": n}, calls
    return {"simple": 1, "heavy": heavy, "tail": 1}


# --- measuring


async def seconds(work):
    start = time.perf_counter()
    result = await work
    taken = time.perf_counter() - start
    assert result == "done"
    return taken


def seconds_by_hand(loop, n):
    start = time.perf_counter()
    result = loop(n)
    taken = time.perf_counter() - start
    assert result == "done"
    return taken


LOOPS = {
    "simple": ("Jump loop", simple_loop, simple_by_hand, False),
    "heavy": (f"Heavy jump loop: a chain of {CHAIN} tasks feeds each step", heavy_loop, heavy_by_hand, False),
    "tail": ("Tail calls (use_vm=True)", tail_loop, tail_by_hand, True),
}


async def measure(iterations, repeats):
    """Return the calls per iteration, and the seconds of each repeat: by loop, by Cascade and by hand."""
    taken = {name: ([], []) for name in (*LOOPS, "sleep")}
    async with cs.Engine() as engine:
        nodes = await calls_per_iteration(engine)
        for _ in range(repeats):
            for name, (_, declare, by_hand, use_vm) in LOOPS.items():
                taken[name][0].append(await seconds(engine.run(declare(iterations), use_vm=use_vm)))
                taken[name][1].append(seconds_by_hand(by_hand, iterations))
            taken["sleep"][0].append(await seconds(sleep_loop(iterations)))
    return nodes, taken


# --- printing


def machine():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{platform.python_implementation()} {platform.python_version()}, {model}"


def print_rates(iterations, taken, nodes):
    tps = iterations / taken
    print(f"    nodes per iteration: {nodes}")
    print(f"    TPS: {tps:>12,.0f} iterations/s")
    print(f"    NPS: {tps * nodes:>12,.0f} nodes/s")
    return tps * nodes


def print_overhead(iterations, ours, by_hand, nodes):
    extra = median(a - b for a, b in zip(ours, by_hand, strict=True)) / iterations * 1e9
    ratio = median(b / a for a, b in zip(ours, by_hand, strict=True))
    each = f", {extra / nodes:z,.1f} ns a node" if nodes > 1 else ""
    print(f"    by hand: {iterations / median(by_hand):>8,.0f} iterations/s")
    print(f"    overhead over plain Python: {extra:z,.0f} ns a step{each} ({ratio:.2f} of its speed)")


def report(iterations, repeats, nodes, taken):
    print(f"Cascade {cs.__version__}, {machine()}, {time.strftime('%Y-%m-%d')}")
    print(f"{iterations:,} iterations, medians of {repeats} repeats; a check run counted the calls of each iteration\n")
    rates = {}
    for number, (name, (title, *_)) in enumerate(LOOPS.items(), 1):
        ours, by_hand = taken[name]
        print(f"[{number}] {title}")
        rates[name] = print_rates(iterations, median(ours), nodes[name])
        print_overhead(iterations, ours, by_hand, nodes[name])
        if name == "heavy":
            change = (rates["heavy"] / rates["simple"] - 1) * 100
            print(f"    throughput {'gain' if change >= 0 else 'loss'} against simple: {change:+.1f} % nodes/s")
        print()
    print("[4] Plain Python: one `await asyncio.sleep(0)` an iteration, which counts as a node here")
    print_rates(iterations, median(taken["sleep"][0]), 1)


def count(text):
    number = int(text.replace("_", "").replace(",", ""))
    if number < 1:
        raise argparse.ArgumentTypeError("1 or more")
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=count, default=5_000, help="iterations of each loop (5,000)")
    parser.add_argument("--repeats", type=count, default=25, help="how often each loop is measured (25)")
    given = parser.parse_args()
    report(given.iterations, given.repeats, *asyncio.run(measure(given.iterations, given.repeats)))


if __name__ == "__main__":
    main()

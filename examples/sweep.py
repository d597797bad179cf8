"""A parameter sweep: a small model is trained for each pair of a learning rate and a penalty, on all processors.

    pip install 'cascade-py[cli,process]'
    python examples/sweep.py
    python examples/sweep.py --epochs 50 --seed 7

Each pair is an item of one map, in a process of its own. Rates that are too high make the model diverge; such items
are collected, and the others go on.
"""

import itertools
import math
import random

import cascade as cs

RATES = [0.003, 0.03, 0.3, 3.0]
PENALTIES = [0.0, 0.01, 0.1]
GRID = list(itertools.product(RATES, PENALTIES))


@cs.task
def sample(seed: int, size: int = 300) -> list[tuple[float, float]]:
    draw = random.Random(seed)
    xs = [draw.uniform(-1, 1) for _ in range(size)]
    return [(x, 3 * x - 1 + draw.gauss(0, 0.2)) for x in xs]


@cs.task(mode="process")
def train(points: list[tuple[float, float]], rate: float, penalty: float, epochs: int) -> float:
    """Fit a line to two thirds of the points; return its root mean square error on the others."""
    seen, unseen = points[: len(points) * 2 // 3], points[len(points) * 2 // 3 :]
    slope = offset = 0.0
    for _ in range(epochs):
        for x, y in seen:
            error = slope * x + offset - y
            slope -= rate * (error * x + penalty * slope)
            offset -= rate * error
        if not abs(slope) + abs(offset) < 1e6:
            raise ArithmeticError(f"diverged at a rate of {rate}")
    return math.sqrt(sum((slope * x + offset - y) ** 2 for x, y in unseen) / len(unseen))


@cs.task
def table(errors: list[float | cs.Failed]) -> str:
    lines = ["  rate  penalty   error"]
    best = min(error for error in errors if not isinstance(error, cs.Failed))
    for (rate, penalty), error in zip(GRID, errors, strict=True):
        told = str(error.error) if isinstance(error, cs.Failed) else f"{error:7.4f}{'  <- best' * (error == best)}"
        lines.append(f"{rate:6} {penalty:8} {told}")
    return "\n".join(lines)


trained = train.partial(
    points=sample(cs.Param("seed", default=1, description="of the sample")),
    epochs=cs.Param("epochs", default=20, description="how often each model sees the points"),
).map(rate=[rate for rate, _ in GRID], penalty=[penalty for _, penalty in GRID], on_error="collect")
sweep = table(trained)

if __name__ == "__main__":
    cs.cli(sweep)

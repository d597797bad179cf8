"""Puts what a command printed into docs/figures.md, and the ten lines of it that matter into both READMEs."""

import re
from pathlib import Path

__all__ = ["FIGURES", "READMES", "ROOT", "brief", "put", "put_brief"]

ROOT = Path(__file__).parents[1]
FIGURES = "docs/figures.md"
READMES = ("README.md", "README.zh-CN.md")
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->"
ROWS = {
    "heavy loop, warm": "a loop of 22 nodes, compiled",
    "jump loop, warm": "a loop of one node, compiled",
    "heavy loop, fresh process, once": "the loop of 22 nodes, in a fresh process, once",
    "flat, 100,000 nodes once": "100,000 nodes, declared and run once",
    "map of 1,000,000 inline items": "a map of 1,000,000 short calls",
    "10,000 async tasks that sleep 10 ms": "10,000 coroutines that sleep 10 ms",
    "one node, warm": "a run of one node",
}
"""The rows of `make bench` that are shown, by their names there."""


def put(command: str, printed: str, root: Path = ROOT) -> None:
    """Replace the command's block in the page of figures, and the lines made from it in the READMEs.

    Raises:
        ValueError: a page has no such block, or several.
    """
    begin, end = f"<!-- output of: {command} -->\n", "<!-- end of output -->"
    _replace(root / FIGURES, command, begin, f"```\n{printed.strip()}\n```\n", end)
    put_brief(root)


def put_brief(root: Path = ROOT) -> None:
    """Write the lines that the page of figures gives into the READMEs."""
    lines = brief((root / FIGURES).read_text(encoding="utf-8"))
    for name in READMES:
        _replace(root / name, "the figures", BEGIN, f"```\n{lines}\n```\n", END)


def brief(page: str) -> str:
    """Return the lines of the page of figures that matter most; what it has not is left out."""
    bench, peers = (_block(page, command) for command in ("make bench", "make bench-peers"))
    lines = [f"{bench.partition(', load')[0]}", f"{'':<48}{'Cascade':>9}{'by hand':>9}{'':<17}{'speed':>5}"]
    for row in bench.splitlines():
        found = re.match(
            r"(?P<name>\S.*?) {2,}(?P<ours>\S+) +(?P<hand>\S+) (?P<unit>[a-z]+(?: an? \w+)?) +(?P<ratio>\S+)", row
        )
        if found is not None and found["name"] in ROWS:
            ratio = float(found["ratio"])
            speed = 1 / ratio if "<= 1.15" in row else ratio  # a ratio of times
            ours = f"{ROWS[found['name']]:<48}{found['ours']:>9}{found['hand']:>9}  {found['unit']:<15}{speed:>5.2f}"
            lines.append(ours)
    slower = [
        f"{engine}{star} {times}x"
        for engine, star, times in re.findall(r"^(\S+) +\d\S* +[\d,]+(\*?) +([\d,]+)x", peers, re.M)
    ]
    half = (len(slower) + 1) // 2
    if slower:
        lines.append(f"the loop of 22 nodes takes others so many times as long: {', '.join(slower[:half])},")
        lines.append(f"{', '.join(slower[half:])} (*: has no loops, and repeats the graph)")
    return "\n".join(lines)


def _block(page: str, command: str) -> str:
    found = re.search(re.escape(f"<!-- output of: {command} -->\n") + "```\n(.*?)```", page, re.S)
    return found[1] if found else ""


def _replace(page: Path, what: str, begin: str, block: str, end: str) -> None:
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    text, found = re.subn(pattern, lambda _: f"{begin}{block}{end}", page.read_text(encoding="utf-8"), flags=re.S)
    if found != 1:
        raise ValueError(f"{page.name} has {found} blocks for the output of {what}; it needs one")
    page.write_text(text, encoding="utf-8")

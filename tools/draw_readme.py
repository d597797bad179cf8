"""Draw the first program of a README, and how it looks while it runs: python tools/draw_readme.py

It writes docs/assets/readme.svg of README.md and readme.zh.svg of README.zh-CN.md: the picture that `cs.visualize`
makes of the program, and beside it what `cs.run` wrote to a terminal, with one look at the live display. The program is
the one that stands there, but for the time that its requests take: so that there is something to see.
"""

import contextlib
import io
import os
import re
import sys
from html import escape
from pathlib import Path
from typing import Any

import cascade as cs
from cascade.app import report
from cascade.app.live import drawn
from cascade.app.standing import Report

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": ("en", "readme.svg"), "README.zh-CN.md": ("zh", "readme.zh.svg")}
BEGIN = "<!-- the first program -->\n```python\n"
SLOWER = ("await asyncio.sleep(0.1)", "await asyncio.sleep(len(asked.append(city) or asked) * 0.7)")
WIDTH, ROW, LEFT = 760, 19, 240
STYLE = """
.paper{fill:#ffffff;stroke:#cbd5e1}.screen{fill:#0f172a}.dot{fill:#475569}
text{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12.5px;white-space:pre;fill:#e2e8f0}
.said{fill:#94a3b8}.live{fill:#7dd3fc}.typed{fill:#a7f3d0}.value{fill:#fde68a;font-weight:600}
@media (prefers-color-scheme:dark){.paper{fill:#0c1424;stroke:#334155}.screen{fill:#111c30;stroke:#334155}}
"""


class Kept:
    """Keeps what a display would show last, while the map of the program goes on."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def show(self, report: Report) -> None:
        """Draw it."""
        if report.sight.maps and report.sight.maps[0].done:
            self.lines = drawn(report, 4, 60).plain.splitlines()

    def stop(self) -> None:
        """Do nothing."""


def program_of(page: str) -> str:
    """Return the first program of a page."""
    return (ROOT / page).read_text(encoding="utf-8").partition(BEGIN)[2].partition("```")[0]


def run(program: str) -> tuple[str, list[tuple[str, str]]]:
    """Run the program; return its picture, and the lines of a terminal, each with its class."""
    kept, told, printed = Kept(), io.StringIO(), io.StringIO()
    names: dict[str, Any] = {"__name__": "__main__", "asked": []}
    real, report.display_for = report.display_for, lambda *_: kept
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(printed):
            exec(compile(program.replace(*SLOWER), "flow.py", "exec"), names)
    finally:
        report.display_for = real
    first, *rest = re.sub(r"^\d\d:\d\d:\d\d", "12:00:00", told.getvalue(), flags=re.M).splitlines()
    lines = [("typed", "$ python flow.py"), ("said", first)]
    lines += [("live", line) for line in kept.lines]
    lines += [("said", line) for line in rest if not re.search("slow|较慢", line)]
    lines += [("value", line) for line in printed.getvalue().splitlines()]
    return str(cs.visualize(names["answer"], format="svg")), lines


def draw(picture: str, lines: list[tuple[str, str]]) -> str:
    """Return both, side by side."""
    width, height = (int(re.search(rf'{each}="(\d+)"', picture)[1]) for each in ("width", "height"))  # type: ignore[index]
    tall = max(height + 24, 46 + ROW * (len(lines) + 1))
    inner = picture.replace("<svg ", f'<svg x="{(LEFT - 20 - width) / 2:g}" y="{(tall - height) / 2:g}" ', 1)
    rows = [
        f'<text class="{kind}" x="{LEFT + 18}" y="{54 + ROW * at}">{escape(text)}</text>'
        for at, (kind, text) in enumerate(lines)
    ]
    dots = [f'<circle class="dot" cx="{LEFT + 18 + 16 * at}" cy="18" r="4.5"/>' for at in range(3)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{tall}" viewBox="0 0 {WIDTH} {tall}">',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" x=".5" y=".5" width="{LEFT - 21}" height="{tall - 1}" rx="8"/>',
            f'<rect class="screen" x="{LEFT}" y=".5" width="{WIDTH - LEFT - 1}" height="{tall - 1}" rx="8"/>',
            inner,
            *dots,
            *rows,
            "</svg>\n",
        ]
    )


def image_of(page: str) -> str:
    """Return the image of a page, in its language."""
    os.environ["CASCADE_LANG"] = PAGES[page][0]
    return draw(*run(program_of(page)))


def main() -> None:
    """Draw both."""
    for page, (_, file) in PAGES.items():
        (ROOT / "docs" / "assets" / file).write_text(image_of(page), encoding="utf-8")
        sys.stderr.write(f"docs/assets/{file}\n")


if __name__ == "__main__":
    main()
